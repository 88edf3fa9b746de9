/** The engines of the tests keep the contract of the port. */
import { describeEngine } from './engine-contract.ts';
import { inMemoryEngineHarness, simulatedEngineHarness } from './simulated-engine-harness.ts';

describeEngine('in memory', inMemoryEngineHarness);
describeEngine('simulated', simulatedEngineHarness);
