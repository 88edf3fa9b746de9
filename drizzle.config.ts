import { defineConfig } from 'drizzle-kit';

/** `npm run migration` compares the schema with the last migration and writes the next; it needs no database. */
export default defineConfig({
  dialect: 'postgresql',
  schema: './services/shared/schema.ts',
  out: './migrations',
});
