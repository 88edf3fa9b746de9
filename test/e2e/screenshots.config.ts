/** `npm run screenshots`: pictures of the page for the README, from a real station. Not part of the tests. */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/e2e/screenshots.ts'],
    globalSetup: ['test/integration/global-setup.ts'],
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});
