"""The style sheet of every page. No fonts, images or scripts from anywhere: it must open on a robot without network."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f5f6f8; --card: #ffffff; --ink: #16191f; --soft: #5b6472; --faint: #8a93a1; --rule: #e2e5ea;
  --base: #8e99ab; --post: #0f766e; --gain: #1d4ed8; --loss: #c2410c; --both: #0f766e; --none: #c3c9d2;
  --both-tint: #d3ebe7; --none-tint: #eceef1;
  --better: #0f766e; --worse: #c2410c; --same: #475569;
  --s0: #0f766e; --s1: #d97706; --s2: #4f46e5; --s3: #be185d; --s4: #0284c7; --s5: #65a30d;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f1216; --card: #181c22; --ink: #e9ecf1; --soft: #a3acb9; --faint: #77808e; --rule: #2a3038;
    --base: #77839a; --post: #2cb5a5; --gain: #3b6ef0; --loss: #e0662b; --both: #2cb5a5; --none: #4a5260;
    --both-tint: #123d39; --none-tint: #232830;
    --better: #0d6b63; --worse: #b04214; --same: #414c5c;
    --s0: #2cb5a5; --s1: #f0a43a; --s2: #8b87f5; --s3: #ec5fa0; --s4: #4bb3ea; --s5: #9ccb45;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
  font-variant-numeric: tabular-nums;
}
main { max-width: 1120px; margin: 0 auto; padding: 28px 20px 64px; }
header { margin: 0 0 18px; }
.brand { color: var(--soft); font-size: 13px; letter-spacing: .08em; text-transform: uppercase; font-weight: 600; }
h1 { margin: 4px 0 0; font-size: clamp(24px, 4vw, 34px); line-height: 1.2; letter-spacing: -.01em; }
h2 { margin: 0 0 4px; font-size: 18px; line-height: 1.3; }
h2 + .note { margin-top: 0; }
nav { display: flex; flex-wrap: wrap; gap: 6px 16px; margin: 12px 0 0; font-size: 14px; }
nav a { color: var(--soft); text-decoration: none; border-bottom: 1px solid var(--rule); }
nav a:hover, nav a:focus { color: var(--ink); border-color: currentColor; }
.cards { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 16px; }
.card {
  grid-column: 1 / -1; min-width: 0; background: var(--card); border: 1px solid var(--rule); border-radius: 12px;
  padding: 18px 20px; scroll-margin-top: 12px;
}
.card.half { grid-column: span 1; }
.note { color: var(--soft); font-size: 14px; margin: 8px 0 12px; max-width: 105ch; }
.scroll { overflow-x: auto; }

.verdict { grid-column: 1 / -1; border-radius: 14px; padding: 24px 26px; color: #fff; }
.verdict.better { background: linear-gradient(120deg, var(--better), #115e75); }
.verdict.worse { background: linear-gradient(120deg, var(--worse), #7c2d12); }
.verdict.same { background: linear-gradient(120deg, var(--same), #334155); }
.verdict p { margin: 0; }
.verdict .line { font-size: clamp(21px, 3.2vw, 29px); font-weight: 700; line-height: 1.25; letter-spacing: -.01em; }
.verdict .numbers { display: flex; flex-wrap: wrap; gap: 14px 44px; margin: 18px 0 0; }
.verdict dt { font-size: 13px; opacity: .85; margin: 0; }
.verdict dd { margin: 0; font-size: 26px; font-weight: 650; line-height: 1.25; }
.verdict dd small { display: block; font-size: 13px; font-weight: 400; opacity: .85; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(160px, 1fr)); gap: 10px 24px; margin: 0; }
.facts dt { color: var(--soft); font-size: 13px; }
.facts dd { margin: 0; overflow-wrap: anywhere; }

.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 14px; color: var(--soft); margin: 4px 0 6px; }
.legend span { display: inline-flex; align-items: center; gap: 7px; }
.legend b { color: var(--ink); }
.legend i { width: 18px; height: 18px; border-radius: 5px; display: inline-grid; place-items: center;
  font: 700 11px/1 system-ui, sans-serif; }
.legend i.key { height: 4px; border-radius: 2px; }

table { border-collapse: collapse; width: 100%; font-size: 15px; }
th, td { padding: 7px 12px; text-align: left; border-bottom: 1px solid var(--rule); vertical-align: top; }
th { color: var(--soft); font-weight: 600; font-size: 13px; border-bottom-color: var(--faint); }
tbody tr:last-child td, tbody tr:last-child th { border-bottom: 0; }
tbody th { font-size: 15px; color: var(--ink); border-bottom-color: var(--rule); }
th.number, td.number { text-align: right; white-space: nowrap; }

.chart { display: block; width: 100%; height: auto; }
.chart text { fill: var(--soft); font-size: 13px; font-family: inherit; }
.chart .name, .chart .value { fill: var(--ink); font-size: 15px; font-weight: 600; }
.chart .grid { stroke: var(--rule); } .chart .axis { stroke: var(--faint); }
.chart .line { fill: none; stroke-width: 2.2; stroke-linejoin: round; stroke-linecap: round; }
.chart .raw { stroke-width: 1; opacity: .32; }
.chart .bar { fill: var(--c); opacity: .5; }
.chart .band { fill: var(--none-tint); } .chart .mark { stroke: var(--ink); stroke-width: 2; stroke-dasharray: 5 4; }
.chart .whisker { stroke: var(--ink); stroke-width: 2; fill: none; }
.chart .point { fill: var(--ink); }
.s0 { --c: var(--s0); } .s1 { --c: var(--s1); } .s2 { --c: var(--s2); }
.s3 { --c: var(--s3); } .s4 { --c: var(--s4); } .s5 { --c: var(--s5); }
.chart .line { stroke: var(--c); }
.chart .dot { fill: var(--c); } .key { background: var(--c); }

video { display: block; width: 100%; max-height: 78vh; border-radius: 8px; background: #181b22; margin: 10px 0 0; }
.frames { border-collapse: separate; border-spacing: 4px; width: 100%; margin-left: -4px; }
.frames td, .frames th { border: 0; padding: 0; text-align: center; vertical-align: middle; }
.frames thead th { font-weight: 400; }
.frames tbody th { text-align: left; padding-right: 10px; width: 1%; font-size: 14px; white-space: nowrap; }
.frames img {
  display: block; margin: 0 auto; width: 100%; min-width: 84px; max-width: 240px; height: auto; border-radius: 5px;
  image-rendering: pixelated;
}

details { border-top: 1px solid var(--rule); padding: 8px 0; }
details:first-of-type { border-top: 0; }
summary { cursor: pointer; font-weight: 600; }
pre { margin: 8px 0 0; padding: 12px; overflow-x: auto; background: var(--page); border-radius: 8px;
  font: 13px/1.5 var(--mono); }
code { font: 13px var(--mono); }
footer { margin-top: 26px; color: var(--faint); font-size: 13px; }

@media (max-width: 760px) {
  main { padding: 18px 12px 48px; }
  .card.half { grid-column: 1 / -1; }
  .card { padding: 14px; }
}
@media print {
  body { background: #fff; }
  .card { break-inside: avoid; }
  .verdict { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
}
"""
