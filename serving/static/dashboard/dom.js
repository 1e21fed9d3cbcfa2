// Elements without markup in strings: text stays text.

/** An element with attributes (functions become listeners, null is left out) and children. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** A button that hands rows to the browser as a CSV file. */
export function csvButton(name, header, rows) {
  const save = () => {
    const address = URL.createObjectURL(new Blob([csv([header, ...rows()])], { type: "text/csv" }));
    h("a", { href: address, download: `${name}.csv` }).click();
    URL.revokeObjectURL(address);
  };
  return h("button", { type: "button", class: "csv", "aria-label": `Download ${name} as CSV`, click: save }, "CSV");
}

/** Rows as RFC 4180 text; what a spreadsheet would take for a formula is kept a text. */
export function csv(rows) {
  const cell = (value) => {
    if (value === null || value === undefined) return "";
    if (typeof value === "number") return String(value);
    const text = typeof value === "object" ? JSON.stringify(value) : String(value);
    const plain = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
  };
  return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}
