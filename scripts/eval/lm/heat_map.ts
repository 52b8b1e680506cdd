/** One measured cell: a length, a depth from 0 to 1, and a score from 0 to 1. */
export interface HeatCell {
  length: number;
  depth: number;
  score: number;
}

const CELL = { width: 64, height: 36 };
const MARGIN = { left: 64, top: 44, bottom: 32, right: 16 };

/**
 * An SVG heat map of scores, lengths across and depths down, red for 0 to green for 1, with each cell's mean written
 * in it. Cells of one length and depth band (of `bands`) are averaged.
 */
export function heatMap(title: string, cells: readonly HeatCell[], bands = 8): string {
  const lengths = [...new Set(cells.map((cell) => cell.length))].sort((a, b) => a - b);
  const width = MARGIN.left + lengths.length * CELL.width + MARGIN.right;
  const height = MARGIN.top + bands * CELL.height + MARGIN.bottom;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="12">`,
    `<text x="${MARGIN.left}" y="20" font-size="14">${escapeXml(title)}</text>`,
  ];
  for (let band = 0; band < bands; band++) {
    const y = MARGIN.top + band * CELL.height;
    const label = `${Math.round((100 * (band + 0.5)) / bands)} %`;
    parts.push(
      `<text x="${MARGIN.left - 8}" y="${
        y + CELL.height / 2 + 4
      }" text-anchor="end">${label}</text>`,
    );
    lengths.forEach((length, column) => {
      const x = MARGIN.left + column * CELL.width;
      const here = cells.filter((cell) =>
        cell.length === length && Math.min(bands - 1, Math.floor(cell.depth * bands)) === band
      );
      if (here.length === 0) return;
      const mean = here.reduce((sum, cell) => sum + cell.score, 0) / here.length;
      parts.push(
        `<rect x="${x}" y="${y}" width="${CELL.width - 2}" height="${CELL.height - 2}" fill="hsl(${
          Math.round(mean * 120)
        } 60% 65%)"/>`,
        `<text x="${x + CELL.width / 2 - 1}" y="${y + CELL.height / 2 + 4}" text-anchor="middle">${
          mean.toFixed(2)
        }</text>`,
      );
    });
  }
  lengths.forEach((length, column) => {
    const x = MARGIN.left + column * CELL.width + CELL.width / 2;
    parts.push(
      `<text x="${x}" y="${height - 10}" text-anchor="middle">${lengthName(length)}</text>`,
    );
  });
  return parts.join("\n") + "\n</svg>\n";
}

/** `4096` as `4k`. */
export function lengthName(length: number): string {
  return length % 1024 === 0 ? `${length / 1024}k` : String(length);
}

function escapeXml(text: string): string {
  return text.replace(
    /[&<>]/g,
    (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" }[sign] ?? sign),
  );
}
