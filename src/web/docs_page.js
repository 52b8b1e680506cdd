/** The page at `/docs`: the server's OpenAPI document, for people. @module */

/**
 * Makes an element.
 * @param {string} tag
 * @param {string} className
 * @param {...(Node | string)} children
 */
function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className !== "") element.className = className;
  element.append(...children);
  return element;
}

/** What a text is made of: what stands between backticks in it is code. */
function prose(text) {
  return text.split("`").map((part, i) => i % 2 === 0 ? part : make("code", "", part));
}

/** Follows a `$ref` within the document. */
function resolve(api, schema) {
  let found = schema ?? {};
  for (let depth = 0; found.$ref !== undefined && depth < 10; depth++) {
    found = found.$ref.slice(2).split("/").reduce((node, key) => node?.[key], api) ?? {};
  }
  return found;
}

/** What values a schema takes, in a few words. */
function typeName(api, given) {
  const schema = resolve(api, given);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const options = schema.anyOf ?? schema.oneOf;
  if (options) return [...new Set(options.map((option) => typeName(api, option)))].join(" | ");
  const items = schema.prefixItems?.[0] ?? schema.items ?? {};
  const type = [schema.type ?? "any"].flat()
    .map((name) => name === "array" ? `array of ${typeName(api, items)}` : name).join(" | ");
  const range = [
    schema.minimum === undefined ? "" : `≥ ${schema.minimum}`,
    schema.exclusiveMinimum === undefined ? "" : `> ${schema.exclusiveMinimum}`,
    // The bounds of a safe integer say nothing to a reader.
    schema.maximum === undefined || schema.maximum >= 2 ** 53 - 1 ? "" : `≤ ${schema.maximum}`,
  ].filter((bound) => bound !== "" && bound !== `≥ ${-(2 ** 53 - 1)}`);
  return range.length > 0 ? `${type} (${range.join(", ")})` : type;
}

/** The object schema inside a schema: itself, an array's items, or the options of a union that are objects. */
function objectsIn(api, given) {
  const schema = resolve(api, given);
  if (schema.properties) return [schema];
  if ([schema.type].flat().includes("array")) return objectsIn(api, schema.items);
  return (schema.anyOf ?? schema.oneOf ?? []).flatMap((option) => objectsIn(api, option));
}

/** The fields of an object schema, nested ones inside. */
function fieldList(api, schema, depth = 0) {
  const list = make("ul", "fields");
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    const found = resolve(api, property);
    const item = make(
      "li",
      "",
      make("code", "", name),
      " ",
      make("span", "type", typeName(api, found)),
    );
    if (schema.required?.includes(name)) item.append(" ", make("span", "required", "required"));
    const description = property.description ?? found.description;
    if (description) item.append(make("span", "description", ...prose(description)));
    if (depth < 4) {
      for (const inner of objectsIn(api, found)) item.append(fieldList(api, inner, depth + 1));
    }
    list.append(item);
  }
  return list;
}

/** One content type's schema. */
function bodyOf(api, content) {
  const parts = Object.entries(content ?? {}).map(([type, { schema }]) => {
    const objects = objectsIn(api, schema);
    const lists = objects.map((object) => fieldList(api, object));
    return make("div", "", make("span", "type", `${type}: ${typeName(api, schema)}`), ...lists);
  });
  return make("div", "", ...parts);
}

function routeSection(api, path, method, route, id) {
  const section = make(
    "section",
    "route",
    make("h3", "", make("span", "method", method), make("code", "", path)),
    make("p", "", ...prose(route.summary ?? "")),
  );
  section.id = id;
  if (route.description) section.append(make("p", "quiet", ...prose(route.description)));
  if (route.parameters?.length > 0) {
    const properties = Object.fromEntries(
      route.parameters.map((
        p,
      ) => [p.name, { ...resolve(api, p.schema), description: p.description }]),
    );
    const required = route.parameters.filter((p) => p.required).map((p) => p.name);
    section.append(make("h4", "", "Parameters"), fieldList(api, { properties, required }));
  }
  if (route.requestBody) {
    section.append(make("h4", "", "Request"), bodyOf(api, route.requestBody.content));
  }
  for (const [status, response] of Object.entries(route.responses ?? {})) {
    const good = status.startsWith("2");
    const details = make(
      "details",
      "",
      make("summary", "", make("code", "", status), " ", ...prose(response.description ?? "")),
      bodyOf(api, response.content),
    );
    details.open = false;
    section.append(...(good ? [make("h4", "", "Responses")] : []), details);
  }
  return section;
}

async function show() {
  const routes = document.getElementById("routes");
  const contents = document.getElementById("contents");
  const response = await fetch("/openapi.json");
  if (!response.ok) throw new Error(`/openapi.json answered ${response.status}`);
  const api = await response.json();
  document.getElementById("version").textContent = `API ${api.info.version}`;
  const tags = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, route] of Object.entries(methods)) {
      const tag = route.tags?.[0] ?? "Other";
      tags.set(tag, [...(tags.get(tag) ?? []), { path, method, route }]);
    }
  }
  const example =
    `curl ${location.origin}/v1/chat/completions -H 'Content-Type: application/json' \\
  -d '{"messages": [{"role": "user", "content": "Hello"}], "stream": true}'`;
  const keyNote = "Where the server asks for a key, add `-H 'Authorization: Bearer KEY'`.";
  routes.replaceChildren(
    make("h1", "", "Sparrow API"),
    make("p", "", api.info.description ?? ""),
    make("pre", "", make("code", "", example)),
    make("p", "quiet", ...prose(keyNote)),
  );
  for (const [tag, entries] of tags) {
    contents.append(make("h2", "", tag));
    routes.append(make("h2", "", tag));
    for (const { path, method, route } of entries) {
      const id = `${method}-${path}`.replace(/[^a-z0-9]+/gi, "-");
      const link = make("a", "", make("span", "method", method), path);
      link.href = `#${id}`;
      contents.append(link);
      routes.append(routeSection(api, path, method, route, id));
    }
  }
  // The hash may be anything, no selector among it.
  document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

show().catch((error) => {
  document.getElementById("routes").textContent =
    `The API document could not be shown. ${error.message}`;
});
