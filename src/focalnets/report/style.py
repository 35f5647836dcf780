"""The look of reports: one sheet, light or dark as the reader's system is, narrow or wide as the window is."""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fbfaf8; --card: #ffffff; --ink: #1d2129; --soft: #5b6472; --line: #e4e1db;
  --accent: #c2410c; --accent-rgb: 194, 65, 12; --on-accent: #ffffff; --good: #15803d; --bad: #b91c1c; --track: #ece9e3;
  --shadow: 0 1px 2px rgba(20, 20, 30, .06), 0 8px 24px rgba(20, 20, 30, .05);
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14161b; --card: #1d2027; --ink: #eceef2; --soft: #9aa3b2; --line: #2d323c;
    --accent: #fb923c; --accent-rgb: 251, 146, 60; --on-accent: #1b1206; --good: #4ade80; --bad: #f87171;
    --track: #2a2f39;
    --shadow: none;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 1080px; margin: 0 auto; padding: 3.5rem 1.25rem 4rem; }
h1 { font-size: clamp(2rem, 5vw, 3.1rem); line-height: 1.12; letter-spacing: -.02em; margin: 0 0 .75rem;
  max-width: 20ch; }
h2 { font-size: 1.5rem; letter-spacing: -.01em; line-height: 1.25; margin: 4rem 0 .5rem; }
p { max-width: 68ch; margin: .5rem 0 1rem; }
.lead { font-size: 1.15rem; color: var(--soft); }
.soft, figcaption, .note { color: var(--soft); }
.note { font-size: .9rem; }
code, pre { font: .9em/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
pre {
  background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 1rem 1.25rem; overflow-x: auto;
  margin: 1rem 0;
}
img { display: block; width: 100%; height: auto; border-radius: 8px; }
.hero { display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 6fr); gap: 2.5rem; align-items: center; }
.hero .pair { display: grid; grid-template-columns: 1fr 1fr; gap: .6rem; }
.hero figcaption { grid-column: 1 / -1; font-size: .9rem; }
figure { margin: 0; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 1rem; margin: 2.5rem 0 0; }
.fact, .panel, .scene {
  background: var(--card); border: 1px solid var(--line); border-radius: 14px; box-shadow: var(--shadow);
}
.fact { padding: 1.1rem 1.25rem; }
.fact b { display: block; font-size: 2rem; line-height: 1.2; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums; }
.fact span { color: var(--soft); font-size: .9rem; display: block; line-height: 1.4; }
.panel { padding: 1.25rem 1.4rem; margin: 1.25rem 0; overflow-x: auto; }
.classes { display: grid; grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); gap: .9rem;
  margin: 1.25rem 0; }
.classes img { border-radius: 12px; image-rendering: auto; }
.classes figcaption { text-align: center; font-size: .9rem; padding-top: .3rem; }
.sheet { grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); }
.sheet figcaption { text-align: left; line-height: 1.35; overflow-wrap: anywhere; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(310px, 1fr)); gap: 1.1rem;
  margin: 1.25rem 0; }
.scene { overflow: hidden; }
.scene .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 2px; }
.scene img { border-radius: 0; }
.scene figcaption { padding: .6rem .9rem .75rem; display: flex; justify-content: space-between; gap: .75rem;
  font-size: .92rem; white-space: nowrap; }
.scene strong { color: var(--ink); }
.right { color: var(--good); } .wrong { color: var(--bad); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; font-size: .95rem; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: .85rem; }
th, td { padding: .5rem .6rem; border-bottom: 1px solid var(--line); vertical-align: middle; }
tr:last-child td { border-bottom: 0; }
td.number, th.number { text-align: right; white-space: nowrap; }
tr.drawn td { font-weight: 650; } tr.blind td { color: var(--soft); }
.bar { display: block; height: 8px; border-radius: 4px; background: var(--track); min-width: 90px; }
.bar i { display: block; height: 100%; border-radius: 4px; background: var(--accent); }
tr.blind .bar i { background: var(--soft); }
.panel.fit { width: fit-content; max-width: 100%; }
.confusion { width: auto; table-layout: fixed; }
.confusion thead th:first-child { width: 6rem; }
.confusion thead th { width: 5rem; }
.confusion td { text-align: center; height: 2.5rem; padding: 0; border: 2px solid var(--card); border-radius: 6px; }
.confusion td.empty { color: transparent; background: var(--track); opacity: .55; }
.confusion th { border: 0; padding: .2rem .5rem; white-space: nowrap; }
.confusion thead th { text-align: center; font-size: .75rem; }
.confusion tbody th { text-align: right; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font: 12px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; }
svg .strong { fill: var(--ink); font-weight: 600; }
.wide { border: 1px solid var(--line); border-radius: 14px; background: #fff; padding: .5rem; }
footer { margin-top: 4.5rem; padding-top: 1.25rem; border-top: 1px solid var(--line); color: var(--soft);
  font-size: .88rem; }
details summary { cursor: pointer; color: var(--soft); }
@media (max-width: 760px) {
  main { padding-top: 2rem; }
  .hero { grid-template-columns: 1fr; gap: 1.5rem; }
  .panel svg { min-width: 600px; }
}
@media print { .fact, .panel, .scene { break-inside: avoid; box-shadow: none; } }
""".strip()
