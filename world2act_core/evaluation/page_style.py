"""What the report on trials adds to the style sheet of every page.

Blue against orange for gained and lost starts: told apart with every common kind of colour blindness, and each cell
carries a sign besides its colour.
"""

TRIAL_STYLE = """
.pair { display: grid; grid-template-columns: minmax(0, 1.25fr) minmax(0, 1fr); gap: 8px 36px; align-items: center; }
.starts {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(36px, 1fr)); gap: 5px; margin: 14px 0 10px; padding: 0;
  list-style: none;
}
.starts li {
  height: 36px; border-radius: 7px; display: grid; place-items: center; font-size: 16px; font-weight: 700;
}
.starts li, .key { font-style: normal; }
.cell-both { background: var(--both-tint); color: var(--both); }
.cell-gain { background: var(--gain); color: #fff; }
.cell-loss { background: var(--loss); color: #fff; }
.cell-neither { background: var(--none-tint); color: var(--faint); }
table.cross { width: auto; }
table.cross td { text-align: center; font-size: 18px; font-weight: 650; min-width: 108px; vertical-align: middle; }
.chart .bar.base { fill: var(--base); } .chart .bar.post { fill: var(--post); }
@media (max-width: 760px) {
  .pair { grid-template-columns: minmax(0, 1fr); }
}
"""
