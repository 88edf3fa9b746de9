/** What went wrong with the database, in one sentence for a person. */
import postgres from 'postgres';
import type { StoreConnection } from '../shared/postgres-session.ts';

/** The database was migrated by a later release: reading it could misunderstand it, so it is left alone. */
export class SchemaNewerError extends Error {
  constructor(databaseAt: number, knownAt: number) {
    super(
      `SchemaNewer: the database was made by a later release (schema of ${minute(databaseAt)}, this release knows ${minute(knownAt)}): install that release again, or restore a backup from before.`,
    );
  }
}

/** The server's own refusal of a statement, wherever in the chain of causes it stands; null: it was something else. */
export function refusalOf(error: unknown): postgres.PostgresError | null {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 8; cause = cause.cause, depth += 1) {
    if (cause instanceof postgres.PostgresError) return cause;
  }
  return null;
}

/** One sentence: what is wrong, and where it can be mended. Never contains a statement or its parameters. */
export function describeFailure(error: unknown, { host, port, user, database }: StoreConnection): string {
  const where = `The database at ${host}:${port}`;
  if (error instanceof SchemaNewerError) return error.message;
  const refusal = refusalOf(error);
  if (refusal !== null) {
    switch (refusal.code) {
      case '28P01':
      case '28000':
        return `${where} refuses user "${user}": check POSTGRES_USER and POSTGRES_PASSWORD.`;
      case '3D000':
        return `${where} has no database "${database}": check POSTGRES_DB, or create it.`;
      case '57P03':
        return `${where} is starting or stopping: ${refusal.message}.`;
      case '42P01':
      case '42703':
        return `${where} lacks a table or column (${refusal.message}): restore a backup, or remove database "${database}" so that it is made anew.`;
      case '25006':
        return `${where} is read-only: ${refusal.message}.`;
      default:
        return `${where} refused: ${refusal.message} (${refusal.code}).`;
    }
  }
  const root = rootOf(error);
  const code = 'code' in root && typeof root.code === 'string' ? root.code : '';
  switch (code) {
    case 'ECONNREFUSED':
    case 'ENOENT':
      return `${where} is not running: nothing listens there.`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `${where} cannot be found: the name "${host}" does not resolve; check POSTGRES_HOST.`;
    default:
      return `${where} cannot be used: ${root.message}`;
  }
}

function rootOf(error: unknown): Error {
  let root = error instanceof Error ? error : new Error(String(error));
  for (let depth = 0; root.cause instanceof Error && depth < 8; depth += 1) root = root.cause;
  // Of several addresses of one name, the first that was tried tells enough.
  if (root instanceof AggregateError && root.errors[0] instanceof Error) return root.errors[0];
  return root;
}

function minute(unixMs: number): string {
  const date = new Date(unixMs);
  return Number.isNaN(date.getTime()) ? String(unixMs) : `${date.toISOString().slice(0, 16)}Z`;
}
