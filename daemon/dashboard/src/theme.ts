// SPDX-License-Identifier: Apache-2.0
// Light, dark, or as the system is.
import { h } from './dom.ts';

type Theme = 'auto' | 'light' | 'dark';
const key = 'mustafard.theme';
const order: Theme[] = ['auto', 'light', 'dark'];

function stored(): Theme {
  const text = localStorage.getItem(key);
  return order.find((theme) => theme === text) ?? 'auto';
}

export function themeSwitch(changed: () => void): HTMLElement {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const apply = () => {
    const theme = stored();
    document.documentElement.dataset['theme'] = theme === 'auto' ? (dark.matches ? 'dark' : 'light') : theme;
    button.textContent = { auto: '\u25d0 Auto', light: '\u25cb Light', dark: '\u25cf Dark' }[theme];
    button.setAttribute('aria-label', `Colours: ${theme}. Change`);
    changed();
  };
  const button = h('button', { type: 'button', class: 'tool theme', onclick: () => {
    localStorage.setItem(key, order[(order.indexOf(stored()) + 1) % order.length]!);
    apply();
  } });
  dark.addEventListener('change', apply);
  apply();
  return button;
}
