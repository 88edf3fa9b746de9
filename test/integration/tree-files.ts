/** Writes into a tree of files that another program reads at the same time. */
import { mkdirSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

/** Changes to a tree that a program sees either not at all or whole. Paths are relative to its root. */
export interface TreeFiles {
  write(path: string, content: string | Uint8Array): void;
  buildFolder(path: string, content: Record<string, string | Uint8Array>): void;
  makeFolder(path: string): void;
  removeFolder(path: string): void;
  link(path: string, target: string): void;
  unlink(path: string): void;
}

export function createTreeFiles(root: string): TreeFiles {
  const aside = join(root, '.aside');
  mkdirSync(aside);
  return {
    write(path, content) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(aside, 'file'), content);
      renameSync(join(aside, 'file'), join(root, path));
    },
    buildFolder(path, content) {
      const folder = join(aside, 'folder');
      for (const [name, value] of Object.entries(content)) {
        mkdirSync(dirname(join(folder, name)), { recursive: true });
        writeFileSync(join(folder, name), value);
      }
      mkdirSync(dirname(join(root, path)), { recursive: true });
      renameSync(folder, join(root, path));
    },
    makeFolder: (path) => void mkdirSync(join(root, path), { recursive: true }),
    removeFolder(path) {
      renameSync(join(root, path), join(aside, 'old'));
      rmSync(join(aside, 'old'), { recursive: true });
    },
    link(path, target) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      symlinkSync(relative(dirname(join(root, path)), join(root, target)), join(root, path));
    },
    unlink: (path) => unlinkSync(join(root, path)),
  };
}
