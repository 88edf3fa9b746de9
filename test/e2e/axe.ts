/** What a screen reader or a keyboard would stumble over, as axe-core finds it in the page as it is now. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Page } from 'playwright-core';

const source = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const GRAVE = new Set(['serious', 'critical']);

/** One line for each finding of weight: rule, element, what is wrong. The page's policy allows no script tag, the debugger may. */
export async function findBarriers(page: Page): Promise<string[]> {
  await page.evaluate(source);
  const { violations } = await page.evaluate(() => Reflect.get(window, 'axe').run(document));
  const found: { id: string; impact: string; help: string; nodes: { html: string; failureSummary: string }[] }[] =
    violations;
  return found
    .filter(({ impact }) => GRAVE.has(impact))
    .flatMap(({ id, help, nodes }) =>
      nodes.map(({ html, failureSummary }) => `${id}: ${help}: ${html} ${failureSummary}`),
    );
}
