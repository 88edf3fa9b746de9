/** The pages in front of everything: sign in, and the first visit that sets the owner's password. */
import type { VNode } from 'preact';
import { PASSWORD_LENGTH } from '../password.ts';
import { texts } from '../texts.ts';
import { Field, Page, type PageContext, PostForm } from './layout.tsx';

export function SignInPage({ context, problem }: { context: PageContext; problem: string | null }): VNode {
  return (
    <Page context={context} title={texts.signIn.title}>
      <section class="card narrow">
        <h1>{texts.signIn.title}</h1>
        {problem !== null && (
          <p class="notice bad" role="alert">
            {problem}
          </p>
        )}
        <PostForm action="/sign-in" context={context}>
          <Field id="password" label={texts.signIn.password}>
            <input
              id="password"
              name="password"
              type="password"
              autocomplete="current-password"
              maxLength={PASSWORD_LENGTH.max}
              required
              autofocus
            />
          </Field>
          <button type="submit">{texts.signIn.submit}</button>
        </PostForm>
        <p class="hint">{texts.signIn.lost}</p>
      </section>
    </Page>
  );
}

export interface SetupProblems {
  code?: string;
  password?: string;
  repeat?: string;
  whole?: string;
}

export function SetupPage({ context, problems }: { context: PageContext; problems: SetupProblems }): VNode {
  return (
    <Page context={context} title={texts.setup.title}>
      <section class="card narrow">
        <h1>{texts.setup.title}</h1>
        <p>{texts.setup.intro}</p>
        {problems.whole !== undefined && (
          <p class="notice bad" role="alert">
            {problems.whole}
          </p>
        )}
        <PostForm action="/setup" context={context}>
          <Field id="code" label={texts.setup.code} hint={texts.setup.codeHint} problem={problems.code}>
            <input id="code" name="code" autocomplete="off" spellcheck={false} maxLength={20} required autofocus />
          </Field>
          <PasswordFields problems={problems} />
          <button type="submit">{texts.setup.submit}</button>
        </PostForm>
      </section>
    </Page>
  );
}

/** A new password, twice. */
export function PasswordFields({ problems }: { problems: Pick<SetupProblems, 'password' | 'repeat'> }): VNode {
  const common = {
    type: 'password',
    autocomplete: 'new-password',
    maxLength: PASSWORD_LENGTH.max,
    required: true,
  } as const;
  return (
    <>
      <Field id="password" label={texts.setup.password} hint={texts.setup.passwordHint} problem={problems.password}>
        <input id="password" name="password" aria-describedby="password-hint" {...common} />
      </Field>
      <Field id="repeat" label={texts.setup.repeat} problem={problems.repeat}>
        <input id="repeat" name="repeat" {...common} />
      </Field>
    </>
  );
}
