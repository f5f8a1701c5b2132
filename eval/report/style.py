"""The style of the report's page: light and dark, from 390 pixels to paper."""

STYLE = """
:root { --ink: #1d2430; --soft: #5b6472; --paper: #ffffff; --card: #f5f6f8; --line: #d5d9e0;
  --s0: #1f5fbf; --s1: #c2410c; --s2: #15803d; --s3: #86198f; --s4: #92660a; --s5: #0f766e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #a3adbb; --paper: #14181e; --card: #1d232b;
  --line: #39424e; --s0: #7fb0ff; --s1: #ff9a68; --s2: #6fd48c; --s3: #e59bee; --s4: #e6bd5c; --s5: #5fd3c6; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 1180px; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; padding-top: .75rem; border-top: 2px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.75rem 0 .5rem; }
p { margin: .5rem 0; max-width: 46rem; }
a { color: var(--s0); }
nav ul { list-style: none; margin: 1rem 0; padding: 0; display: flex; flex-wrap: wrap; gap: .25rem 1rem; }
footer { margin-top: 3rem; padding-top: .75rem; border-top: 2px solid var(--line); color: var(--soft);
  font-size: .875rem; }
.note { color: var(--soft); font-size: .875rem; }
.scroll { overflow-x: auto; max-width: 100%; margin: .5rem 0; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
caption { text-align: left; color: var(--soft); padding-bottom: .25rem; overflow-wrap: anywhere; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th[scope=row], thead th:first-child { text-align: left; }
th[scope=row] { font-weight: 500; white-space: normal; min-width: 8.5rem; overflow-wrap: anywhere; }
thead th { border-bottom: 2px solid var(--line); vertical-align: bottom; white-space: normal; }
.pair { display: grid; grid-template-columns: minmax(0, 1fr); gap: .5rem 1.5rem; align-items: start;
  margin: .75rem 0 1.25rem; }
.numbers { min-width: 0; }
@media (min-width: 900px) { .pair { grid-template-columns: minmax(0, 26rem) minmax(0, 1fr); }
  .wide { grid-template-columns: minmax(0, 1fr); } }
figure { margin: 0; min-width: 0; max-width: 26rem; }
.wide figure { max-width: none; }
figcaption { color: var(--soft); font-size: .875rem; margin-top: .25rem; }
figure svg { display: block; width: 100%; height: auto; color: var(--ink); }
.key { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; font-size: .875rem; max-width: none; }
.entry { min-width: 0; }
.mark { display: inline-block; width: 1.75rem; height: 0; margin-right: .4rem; vertical-align: middle;
  border-top: 3px solid; }
.s0 { border-color: var(--s0); } .s1 { border-color: var(--s1); border-top-style: dashed; }
.s2 { border-color: var(--s2); border-top-style: dotted; } .s3 { border-color: var(--s3); }
.s4 { border-color: var(--s4); border-top-style: dashed; } .s5 { border-color: var(--s5); border-top-style: dotted; }
.cards { display: flex; flex-wrap: wrap; gap: .75rem; }
.card { background: var(--card); padding: .4rem; border-radius: .4rem; font-size: .8rem; break-inside: avoid; }
.card img { display: inline-block; width: 84px; height: 84px; object-fit: contain; vertical-align: bottom; }
.card span { display: block; text-align: center; }
.face { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: .4rem; max-width: 30rem;
  font-size: .75rem; margin: .5rem 0 0; break-inside: avoid; }
.face img { width: 100%; height: auto; display: block; }
.face .map { image-rendering: pixelated; }
.face span { color: var(--soft); }
.scale { height: .6rem; max-width: 15rem; }
@media print { :root { --ink: #000; --soft: #333; --paper: #fff; --card: #fff; --line: #999; --s0: #1f5fbf;
  --s1: #c2410c; --s2: #15803d; --s3: #86198f; --s4: #92660a; --s5: #0f766e; }
  body { max-width: none; padding: 0; font-size: 10pt; } nav { display: none; } a { color: inherit; }
  h2, h3 { break-after: avoid; } figure, tr { break-inside: avoid; }
  .scroll { overflow: visible; } table { font-size: 7.5pt; overflow-wrap: anywhere; }
  th, td { padding: .1rem .3rem; white-space: normal; } th[scope=row] { min-width: 3rem; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; } }
"""
