"""What a run has reached of its goals, as bars: an SVG beside its JSON."""

from report import GOALS, score, verdict

WIDTH, ROW, LEFT, RIGHT, TOP = 900, 34, 290, 70, 56
COLOURS = {"stretch": "#2e7d32", "reached": "#66a96a", "NOT REACHED": "#c05a4a"}


def plot(ratios, title):
    """SVG text. Bars are as long as the goal is near, so that all goals stand in one line."""
    goals = {name: stretch for name, (_, stretch) in GOALS.items() if name in ratios}
    longest = max(max(score(name, ratios[name]), score(name, stretch)) for name, stretch in goals.items())
    unit = (WIDTH - LEFT - RIGHT) / longest
    rows = [f'<text x="12" y="24" font-size="16">{title}</text>',
            f'<text x="{LEFT + unit:.0f}" y="{TOP - 8}" text-anchor="middle" fill="#555">goal</text>']
    for row, (name, stretch) in enumerate(goals.items()):
        y, end = TOP + row * ROW, LEFT + score(name, ratios[name]) * unit
        rows += [
            f'<text x="{LEFT - 8}" y="{y + 17}" text-anchor="end">{name}</text>',
            f'<rect x="{LEFT}" y="{y + 3}" width="{end - LEFT:.1f}" height="20" '
            f'fill="{COLOURS[verdict(name, ratios[name])]}"/>',
            f'<text x="{end + 6:.1f}" y="{y + 17}">{ratios[name]:,.2f}</text>',
            f'<path d="M{LEFT + score(name, stretch) * unit:.1f} {y + 1}v24" stroke="#555" stroke-dasharray="3 3"/>']
    height = TOP + len(goals) * ROW + 30
    rows += [f'<path d="M{LEFT + unit:.1f} {TOP}V{height - 30}" stroke="#222"/>',
             f'<text x="12" y="{height - 8}" fill="#555">full line: goal; dashed: stretch; number: what was measured</text>']
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" '
            f'font-size="12"><rect width="100%" height="100%" fill="white"/>\n' + "\n".join(rows) + "\n</svg>\n")
