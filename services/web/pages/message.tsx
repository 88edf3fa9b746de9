/** One sentence on a page of its own: what was not possible; and the question before a recording is interrupted. */
import type { VNode } from 'preact';
import { texts } from '../texts.ts';
import { Page, type PageContext, PostForm } from './layout.tsx';

export function MessagePage({
  context,
  title = texts.errors.title,
  message,
  hint,
}: {
  context: PageContext;
  title?: string;
  message: string;
  hint?: string | undefined;
}): VNode {
  return (
    <Page context={context} title={title}>
      <section class="card narrow">
        <h1>{title}</h1>
        <p class="notice bad" role="alert">
          {message}
        </p>
        {hint !== undefined && <p>{hint}</p>}
        <p>
          <a href="/">{texts.navigation.dashboard}</a>
        </p>
      </section>
    </Page>
  );
}

/** Asks first. `fields` are sent again with the answer; `backTo` is where "no" leads. */
export function ConfirmPage({
  context,
  action,
  fields,
  submit,
  cost,
  backTo,
}: {
  context: PageContext;
  action: string;
  fields: Readonly<Record<string, string>>;
  submit: string;
  cost: string;
  backTo: string;
}): VNode {
  return (
    <Page context={context} title={texts.confirm.title}>
      <section class="card narrow">
        <h1>{`${submit}?`}</h1>
        <p class="notice warning">{cost}</p>
        <PostForm action={action} context={context} class="row">
          {Object.entries(fields).map(([name, value]) => (
            <input key={name} type="hidden" name={name} value={value} />
          ))}
          <input type="hidden" name="confirmed" value="yes" />
          <button type="submit" class="danger">
            {submit}
          </button>
          <a class="button quiet" href={backTo}>
            {texts.confirm.keepGoing}
          </a>
        </PostForm>
      </section>
    </Page>
  );
}
