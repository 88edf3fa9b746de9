/** Reading and writing of an exact number of bytes: a single call of the system may do less. */
import type { FileHandle } from 'node:fs/promises';

/** As many bytes as asked for; fewer only where the file ends. */
export async function readFully(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) return buffer.subarray(0, filled);
    filled += bytesRead;
  }
  return buffer;
}

export async function writeFully(file: FileHandle, position: number, bytes: Buffer): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    const result = await file.write(bytes, written, bytes.length - written, position + written);
    written += result.bytesWritten;
  }
}
