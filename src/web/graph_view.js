/** An application's graph as SVG: nodes in columns by depth, left to right. @module */

const box = { width: 176, height: 44, columnGap: 56, rowGap: 14, margin: 8 };

/** @param {string} tag @param {Record<string, string | number>} attributes @param {...Node} children */
function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** @param {string} className @param {number} y @param {string} content */
function label(className, y, content) {
  const text = svg("text", { class: className, x: 10, y });
  text.textContent = content.length > 26 ? `${content.slice(0, 25)}…` : content;
  return text;
}

/** What a node did, in one line. */
function figures(node) {
  if (node.error) return node.error;
  const parts = [];
  if (node.prompt_tokens !== undefined) {
    parts.push(`${node.prompt_tokens - (node.cached_tokens ?? 0)}/${node.prompt_tokens} filled`);
  }
  if (node.finished_ms !== undefined && node.started_ms !== undefined) {
    parts.push(`${Math.round(node.finished_ms - node.started_ms)} ms`);
  }
  return parts.length > 0 ? parts.join(" · ") : node.state;
}

/** The column of each node: one more than that of the last node it reads from. */
function columnsOf(nodes, variables) {
  const producer = new Map(variables.map(({ id, producer }) => [id, producer]));
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const columns = new Map();
  const place = (node) => {
    if (columns.has(node.id)) return columns.get(node.id);
    columns.set(node.id, 0);
    const before = node.inputs.map((id) => byId.get(producer.get(id))).filter(Boolean);
    const column = before.length > 0 ? 1 + Math.max(...before.map(place)) : 0;
    columns.set(node.id, column);
    return column;
  };
  nodes.forEach(place);
  return columns;
}

/**
 * The graph that `GET /v1/apps/{session}` describes.
 * @param {{ nodes: object[], variables: object[] }} description
 */
export function drawGraph({ nodes, variables }) {
  const columns = columnsOf(nodes, variables);
  const names = new Map(variables.map(({ id, name }) => [id, name]));
  const rows = [];
  const places = new Map();
  for (const node of nodes) {
    const column = columns.get(node.id);
    const row = rows[column] = (rows[column] ?? -1) + 1;
    places.set(node.id, {
      x: box.margin + column * (box.width + box.columnGap),
      y: box.margin + row * (box.height + box.rowGap),
    });
  }
  const edges = variables.flatMap(({ producer, consumers }) =>
    producer === null ? [] : consumers.map((consumer) => {
      const from = places.get(producer);
      const to = places.get(consumer);
      const [x1, y1] = [from.x + box.width, from.y + box.height / 2];
      const [x2, y2] = [to.x, to.y + box.height / 2];
      const bend = (x2 - x1) / 2;
      return svg("path", { d: `M${x1},${y1} C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}` });
    })
  );
  const boxes = nodes.map((node) => {
    const { x, y } = places.get(node.id);
    return svg(
      "g",
      { class: node.state, transform: `translate(${x},${y})` },
      svg("rect", { width: box.width, height: box.height, rx: 7 }),
      label("", 18, node.outputs.map((id) => names.get(id) ?? id).join(", ")),
      label("figures", 35, figures(node)),
    );
  });
  const width = 2 * box.margin + rows.length * (box.width + box.columnGap) - box.columnGap;
  const height = 2 * box.margin + (Math.max(0, ...rows) + 1) * (box.height + box.rowGap);
  return svg("svg", { width, height, viewBox: `0 0 ${width} ${height}` }, ...edges, ...boxes);
}
