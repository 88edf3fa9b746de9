/** A stream of events that is asked for again whatever ended it; a reload of the page would cost what is being typed. */

const AGAIN_MS = 5000;
/** Until then nobody is told that a stream which was just asked for has not come. */
const LATE_MS = 1000;

export interface StreamUse {
  /** Called with each new connection. */
  listen(source: EventSource): void;
  opened(): void;
  lost(): void;
  /** A browser has six connections to a station: tabs that nobody sees leave them to the one that is looked at. */
  onlySeen: boolean;
}

export function followStream(address: string, { listen, opened, lost, onlySeen }: StreamUse): void {
  let source: EventSource | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let late: ReturnType<typeof setTimeout> | undefined;
  const isUnseen = (): boolean => onlySeen && document.hidden;

  const connect = (): void => {
    leave();
    if (isUnseen()) return;
    const fresh = new EventSource(address);
    source = fresh;
    fresh.addEventListener('open', opened);
    fresh.addEventListener('error', () => {
      lost();
      // What was refused is not tried again by the browser itself.
      if (fresh.readyState === EventSource.CLOSED) timer = setTimeout(() => void again(), AGAIN_MS);
    });
    late = setTimeout(() => {
      if (fresh.readyState !== EventSource.OPEN) lost();
    }, LATE_MS);
    listen(fresh);
  };
  const leave = (): void => {
    clearTimeout(timer);
    clearTimeout(late);
    source?.close();
    source = null;
  };
  const again = async (): Promise<void> => {
    if (await isOver()) location.reload();
    else connect();
  };
  document.addEventListener('visibilitychange', () => {
    if (isUnseen()) leave();
    else if (source === null) connect();
  });
  connect();
}

/** The session is over, or the page is gone: loading anew says which. A station that only has trouble will come back. */
async function isOver(): Promise<boolean> {
  try {
    const { type, status } = await fetch(location.href, { method: 'HEAD', redirect: 'manual', cache: 'no-store' });
    return type === 'opaqueredirect' || (status >= 400 && status < 500);
  } catch {
    return false;
  }
}
