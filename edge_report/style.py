"""The look of every report: one style sheet, light and dark, from phone to desk."""

from __future__ import annotations

STYLE = """
:root {
  --paper: #f6f7f8; --card: #ffffff; --ink: #1c2329; --soft: #5b6670; --grid: #d5dbe0;
  --series-1: #2563a8; --series-2: #d9822b; --series-3: #b3394b;
  --series-4: #3f8f6b; --series-5: #7a5aa6; --series-6: #6b7780;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181b; --card: #1d2327; --ink: #e6eaed; --soft: #98a4ad; --grid: #38424a;
    --series-1: #6aa5e3; --series-2: #eba45a; --series-3: #e77a88;
    --series-4: #74c29d; --series-5: #b49adb; --series-6: #a3adb5;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
header { border-bottom: 3px solid var(--series-1); margin-bottom: 1.25rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .7rem; }
p { margin: .5rem 0; max-width: 46rem; }
.lead { color: var(--soft); margin: 0 0 1rem; overflow-wrap: anywhere; }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .7rem;
}
.tile, figure, .wide, dl {
  background: var(--card); border: 1px solid var(--grid); border-radius: 8px;
}
.tile { padding: .7rem .9rem; }
.tile b {
  display: block; font-size: 1.45rem; line-height: 1.25; font-variant-numeric: tabular-nums;
}
.tile span { color: var(--soft); font-size: .85rem; }
.wide { overflow-x: auto; margin: .8rem 0; padding: .3rem .9rem .6rem; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
caption, summary, figcaption { color: var(--soft); font-size: .85rem; text-align: left; }
caption, summary { padding: .4rem 0; }
summary { cursor: pointer; }
th, td { text-align: left; padding: .35rem .9rem .35rem 0; border-top: 1px solid var(--grid); }
th { font-weight: 600; white-space: nowrap; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
dl {
  display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: .25rem 1.2rem;
  margin: .8rem 0; padding: .8rem .9rem; font-size: .9rem;
}
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
figure { margin: .8rem 0; padding: .7rem .9rem; }
figure svg, figure img { display: block; width: 100%; height: auto; }
figure svg { max-width: 52rem; margin: 0 auto; }
figure svg text { font-family: inherit !important; }
figcaption { padding-top: .4rem; }
.grid {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 18rem), 1fr));
  gap: .8rem; margin: .8rem 0;
}
.grid figure { margin: 0; }
@media (max-width: 30rem) {
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .45rem; }
}
"""
