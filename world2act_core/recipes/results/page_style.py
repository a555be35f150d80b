"""What the results page adds to the style sheet of every page."""

RESULTS_STYLE = """
main { max-width: 1560px; }
[hidden] { display: none !important; }
.card:empty { display: none; }
#application { grid-column: 1 / -1; }
.filters {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: 10px 16px; align-items: end;
}
.filters label { display: grid; gap: 3px; font-size: 13px; color: var(--soft); min-width: 0; }
.filters .wide { grid-column: span 2; }
label.check, .filters label.check {
  display: flex; align-items: center; gap: 7px; font-size: 14px; color: var(--ink); min-height: 36px;
}
input, select, button { font: inherit; font-size: 14px; color: var(--ink); }
input[type=search], select {
  width: 100%; min-height: 36px; padding: 4px 9px; border: 1px solid var(--faint); border-radius: 7px;
  background: var(--page);
}
button {
  min-height: 34px; padding: 4px 12px; border: 1px solid var(--faint); border-radius: 7px; background: var(--page);
  cursor: pointer;
}
button:hover { border-color: var(--ink); }
:focus-visible { outline: 2px solid var(--gain); outline-offset: 2px; }
button.sort, button.quiet {
  border: 0; background: none; padding: 0; min-height: 24px; font-size: 13px; color: inherit; white-space: nowrap;
}
button.sort { font-weight: 600; } button.sort:hover, button.quiet:hover { text-decoration: underline; }
input[type=radio], input[type=checkbox] { width: 17px; height: 17px; margin: 2px 0; accent-color: var(--post); }
.tall { max-height: 76vh; overflow: auto; margin: 10px 0; border-top: 1px solid var(--rule); }
table.results { font-size: 14px; }
.results th, .results td { padding: 6px 10px; }
.results thead th {
  position: sticky; top: 0; background: var(--card); z-index: 1; box-shadow: inset 0 -1px var(--faint); border: 0;
}
.results small { display: block; color: var(--soft); font-size: 12px; }
.results .policy { overflow-wrap: anywhere; min-width: 190px; max-width: 320px; }
.results .task { min-width: 96px; }
.results .date, .results .rate { white-space: nowrap; }
.results .label { font-weight: 600; }
.results .opened > td { background: var(--page); }
.tiny { display: block; width: 112px; height: 11px; margin-top: 2px; }
.tiny .grid { stroke: var(--rule); stroke-width: 2; } .tiny .whisker { stroke: var(--soft); stroke-width: 2; }
.tiny .point { fill: var(--post); }
.links { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0; padding: 0; list-style: none; }
a { color: var(--gain); overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) { a { color: var(--s4); } }
h3 { margin: 12px 0 4px; font-size: 14px; }
.columns { display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 6px 0; font-size: 14px; }
.columns label { display: inline-flex; gap: 6px; align-items: center; }
.facts small { display: block; color: var(--soft); font-size: 12px; }
#verdict p { margin: 2px 0; overflow-wrap: anywhere; }
#verdict .line { font-size: 20px; font-weight: 650; margin: 10px 0; }
#verdict .facts { margin: 0 0 10px; } #verdict .refused { color: var(--loss); font-weight: 600; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(440px, 100%), 1fr)); gap: 14px 28px; }
figure { margin: 0; } figcaption { font-size: 14px; font-weight: 600; overflow-wrap: anywhere; }
.chart .interval { stroke: var(--c); stroke-width: 1.4; opacity: .55; }
.chart .dashed { stroke-dasharray: 6 4; }
"""
