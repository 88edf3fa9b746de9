/** The simulation is the one test that only computes: whoever tests in real time beside it goes first. */
import { constants, setPriority } from 'node:os';

setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
