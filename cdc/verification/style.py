"""Style: how the page of a verification looks, by day and by night, on a desk and on a phone."""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root{color-scheme:light dark;--paper:#fbfaf7;--card:#fff;--ink:#22262b;--soft:#636b74;--line:#e4e1da;
--equal:#2f7d5b;--differs:#a8432f;--missing:#c2622d;--ghost:#7b6bb5;--stale:#b3892a;--foreign:#b0486e;
--shape:#3f7fa6;--kept:#78818b;--other:#78818b;--ours:#e3f1e9;--oursmark:#a9d9bf;--theirs:#f8e8e3;--theirsmark:#efbfae}
@media (prefers-color-scheme:dark){:root{--paper:#15181b;--card:#1c2024;--ink:#e2e4e6;--soft:#98a1aa;--line:#2e3439;
--equal:#5fb98d;--differs:#e08a72;--missing:#e08a56;--ghost:#a596e0;--stale:#d8b056;--foreign:#da7d9f;
--shape:#6fb0d8;--kept:#8d97a1;--other:#8d97a1;--ours:#1d2e27;--oursmark:#2f6a4d;--theirs:#33231f;--theirsmark:#7d3f2e}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:62rem;margin:0 auto;padding:3.5rem 1.5rem 5rem}
code{font:.86em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;overflow-wrap:anywhere}
header{border-left:4px solid var(--equal);padding:.1rem 0 .1rem 1.4rem}
header.differs{border-color:var(--differs)}
h1{font-size:clamp(1.5rem,4.2vw,2.2rem);line-height:1.25;font-weight:600;letter-spacing:-.015em;margin:.3rem 0 .6rem;
text-wrap:balance}
.about,.when{margin:0;color:var(--soft)}
h2{font-size:.8rem;font-weight:600;letter-spacing:.09em;text-transform:uppercase;color:var(--soft);margin:3rem 0 1rem}
h3{font-size:1.15rem;font-weight:600;margin:2.2rem 0 .8rem;display:flex;align-items:center;gap:.6rem}
h3 small{font-weight:400;font-size:.9rem;color:var(--soft)}
h4{margin:0;font-weight:600;font-size:1rem;overflow-wrap:anywhere}
.slash{color:var(--soft);padding:0 .25em}
.fill{background:var(--other)}
.equal.fill{background:var(--equal)}.missing.fill{background:var(--missing)}.ghost.fill{background:var(--ghost)}
.stale.fill{background:var(--stale)}.foreign.fill{background:var(--foreign)}.shape.fill{background:var(--shape)}
.kept.fill{background:var(--kept)}
.dot{display:inline-block;width:.65rem;height:.65rem;border-radius:50%;flex:none}
.strip{display:flex;gap:2px;height:14px;border-radius:7px;overflow:hidden;margin-bottom:1.4rem}
.strip span{min-width:4px;flex-basis:0}
.classes{list-style:none;margin:0;padding:0}
.classes li{display:grid;grid-template-columns:.65rem 5.2rem 7rem 1fr;gap:.1rem .8rem;align-items:center;
padding:.75rem 0;border-top:1px solid var(--line)}
.classes .name{font-weight:600}
.count{text-align:right;font-variant-numeric:tabular-nums}
.bar{height:8px;border-radius:4px;overflow:hidden;background:var(--line)}
.bar span{display:block;height:100%;border-radius:4px}
.told{grid-column:2/-1;color:var(--soft);font-size:.92rem}
.remedy{color:var(--ink)}
.remedy code{white-space:nowrap}
.none .told,.none .name,.none .count{color:var(--soft);font-weight:400}
.none .dot{opacity:.4}
.none .bar{visibility:hidden}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(13.5rem,1fr));gap:1.1rem 1.5rem;margin:0}
dt{color:var(--soft);font-size:.85rem}
dd{margin:0;font-variant-numeric:tabular-nums}
article{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1.1rem 1.2rem;margin:0 0 1rem}
.facts{color:var(--soft);font-size:.88rem;margin:.15rem 0 0;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.reason,.letter{margin:.6rem 0 0;overflow-wrap:anywhere}
table{width:100%;border-collapse:collapse;table-layout:fixed;margin-top:.9rem;font-size:.95rem}
th,td{text-align:left;vertical-align:top;padding:.45rem .6rem .45rem 0;border-top:1px solid var(--line);font-weight:400}
thead th{font-size:.8rem;color:var(--soft);border:0;padding-bottom:.2rem}
tbody th{font:.86em/1.6 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;overflow-wrap:anywhere}
th:first-child{width:24%}
td code{display:block;max-height:16rem;overflow:auto;white-space:pre-wrap;border-radius:5px;padding:.1rem .45rem}
td .expected{background:var(--ours)}td .found{background:var(--theirs)}
mark{color:inherit;border-radius:3px;padding:.05em 0}
.expected mark{background:var(--oursmark)}.found mark{background:var(--theirsmark)}
.absent,.more{color:var(--soft);font-style:italic;font-size:.9rem}
td .absent{padding:0 .45rem}
details{margin-top:.8rem}
summary{cursor:pointer;color:var(--soft);font-size:.9rem}
@media (max-width:40rem){
main{padding:1.6rem 1rem 3rem}
header{padding-left:1rem}
.classes li{grid-template-columns:.65rem 1fr auto;row-gap:.35rem}
.classes .bar{grid-column:2/-1}
article{padding:.9rem}
table.one{font-size:.9rem}
table.one th:first-child{width:40%}
table.both,.both tbody,.both tr,.both td,.both tbody th{display:block;width:auto}
.both thead{display:none}
.both tr{border-top:1px solid var(--line);padding:.6rem 0}
.both tbody th,.both td{border:0;padding:.1rem 0}
.both tbody th:first-child{width:auto;font-weight:600}
.both td::before{content:attr(data-side);display:block;color:var(--soft);font-size:.75rem;margin-top:.25rem}
.both td.more::before{content:none}
dl{grid-template-columns:1fr 1fr;gap:.9rem}
}
@media print{body{background:#fff}article{break-inside:avoid}td code{max-height:none}}
""".strip()
