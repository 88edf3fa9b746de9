/** Cost against the number of microphones, as an SVG that can be read on a light and on a dark page. */

export interface Series {
  name: string;
  /** Microphones → milliseconds. */
  points: ReadonlyMap<number, number>;
}

const WIDTH = 720;
const HEIGHT = 460;
const EDGE = { left: 76, right: 24, top: 100, bottom: 60 };
/** So that what is written beside the first and last points has room. */
const INSET = 32;
/** Distinguished by shape as well as by colour. */
const MARKS = [
  (x: number, y: number) => `<circle cx="${x}" cy="${y}" r="6"/>`,
  (x: number, y: number) => `<rect x="${x - 5}" y="${y - 5}" width="10" height="10"/>`,
];
const STYLE = `
  text { font: 14px system-ui, sans-serif; fill: #1f2328; }
  .title { font-size: 16px; font-weight: 600; }
  .grid { stroke: #d1d9e0; stroke-width: 1; }
  .line { fill: none; stroke-width: 2.5; }
  .series0 { fill: #0550ae; stroke: #0550ae; } .series1 { fill: #953800; stroke: #953800; }
  .ground { fill: #ffffff; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .grid { stroke: #3d444d; }
    .series0 { fill: #79c0ff; stroke: #79c0ff; } .series1 { fill: #ffa657; stroke: #ffa657; }
    .ground { fill: #0d1117; }
  }`;

/** Both axes are logarithmic: a straight line that climbs one decade per decade is a cost that grows in proportion. */
export function plot(series: readonly Series[], caption: string): string {
  const points = series.flatMap((one) => [...one.points]);
  const across = decades(points.map(([microphones]) => microphones));
  const up = decades(points.map(([, costMs]) => costMs));
  const x = scale(across, EDGE.left + INSET, WIDTH - EDGE.right - INSET);
  const y = scale(up, HEIGHT - EDGE.bottom, EDGE.top);
  const vertical = across.map((value) => {
    const at = x(value);
    return `<line class="grid" x1="${at}" y1="${EDGE.top}" x2="${at}" y2="${HEIGHT - EDGE.bottom}"/>
<text x="${at}" y="${HEIGHT - EDGE.bottom + 20}" text-anchor="middle">${number(value)}</text>`;
  });
  const horizontal = up.map((value) => {
    const at = y(value);
    return `<line class="grid" x1="${EDGE.left}" y1="${at}" x2="${WIDTH - EDGE.right}" y2="${at}"/>
<text x="${EDGE.left - 8}" y="${at + 5}" text-anchor="end">${number(value)} ms</text>`;
  });
  const drawn = series.map((one, index) => draw(one, index, x, y));
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${caption}">
<style>${STYLE}
</style>
<rect class="ground" width="${WIDTH}" height="${HEIGHT}" rx="8"/>
<text class="title" x="${EDGE.left}" y="30">${caption}</text>
${[...vertical, ...horizontal].join('\n')}
<text x="${(EDGE.left + WIDTH - EDGE.right) / 2}" y="${HEIGHT - 14}" text-anchor="middle">microphones</text>
${drawn.join('\n')}
</svg>
`;
}

function draw(
  { name, points }: Series,
  index: number,
  x: (value: number) => number,
  y: (value: number) => number,
): string {
  const places = [...points].map(([microphones, costMs]) => ({ x: x(microphones), y: y(costMs), costMs }));
  const mark = MARKS[index % MARKS.length] ?? MARKS[0];
  // Of two series the first is told above its points, the second below: they may lie close together.
  const below = index === 0 ? -12 : 24;
  const labels = places.map(
    (place) =>
      `<text x="${place.x}" y="${place.y + below}" text-anchor="middle">${place.costMs.toPrecision(2)} ms</text>`,
  );
  const legendTop = 56 + index * 24;
  const line = places.map(({ x: left, y: top }) => `${left},${top}`).join(' ');
  return `<g class="series${index}"><polyline class="line" style="fill:none" points="${line}"/>
${places.map((place) => mark?.(place.x, place.y)).join('\n')}
${mark?.(EDGE.left + 6, legendTop - 5)}</g>
<text x="${EDGE.left + 20}" y="${legendTop}">${name}</text>
${labels.join('\n')}`;
}

/** The powers of ten around these values. */
function decades(values: readonly number[]): number[] {
  const lowest = Math.floor(Math.log10(Math.min(...values)));
  const highest = Math.ceil(Math.log10(Math.max(...values)));
  return Array.from({ length: highest - lowest + 1 }, (_, index) => 10 ** (lowest + index));
}

function scale(ticks: readonly number[], from: number, to: number): (value: number) => number {
  const [lowest = 1] = ticks;
  const span = Math.max(1, ticks.length - 1);
  return (value) => Math.round((from + ((to - from) * Math.log10(value / lowest)) / span) * 10) / 10;
}

const number = (value: number): string =>
  value >= 1 ? value.toLocaleString('en').replaceAll(',', ' ') : String(+value.toPrecision(1));
