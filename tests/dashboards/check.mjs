// Holds the dashboards to the types of Grafana's own SDK: every key and the kind of every value.
import { readFileSync, readdirSync } from "node:fs";
import ts from "typescript";

const folder = process.argv[2];
const sdk = "@grafana/grafana-foundation-sdk";
// The types of panels that are in use, and what the SDK calls a question to each data source.
const panels = ["timeseries", "stat", "logs", "table"];
const questions = { prometheus: "Dataquery", loki: "dataquery", tempo: "Dataquery" };
const modules = ["dashboard", ...Object.keys(questions), ...panels];

const lines = [
  ...modules.map((name) => `import type * as ${name} from "${sdk}/${name}";`),
  // Enumerations are written as their values; questions are told apart by a method that JSON does not have.
  "type Value<T> = T extends string ? string : T extends number ? number : T extends boolean ? boolean",
  "  : T extends (...args: never[]) => unknown ? never : T extends (infer E)[] ? Value<E>[]",
  "  : T extends object ? { [K in keyof T as T[K] extends (...args: never[]) => unknown ? never : K]?: Value<T[K]> } : T;",
];
let checks = 0;
const hold = (value, type, place) => {
  lines.push(`const check${checks++}: Value<${type}> = ${JSON.stringify(value)}; // ${place}`);
};
for (const file of readdirSync(folder).filter((name) => name.endsWith(".json"))) {
  const board = JSON.parse(readFileSync(`${folder}/${file}`, "utf8"));
  const { panels: all, ...rest } = board;
  hold(rest, "dashboard.Dashboard", file);
  for (const panel of all) {
    const place = `${file}: ${panel.title}`;
    if (panel.type === "row") {
      hold(panel, "dashboard.RowPanel", place);
      continue;
    }
    const { targets, options, fieldConfig, ...frame } = panel;
    hold(frame, "dashboard.Panel", place);
    if (!panels.includes(panel.type)) throw new Error(`${place}: the panel type ${panel.type} is not known here`);
    hold(options, `${panel.type}.Options`, place);
    if (fieldConfig) {
      const { custom, ...defaults } = fieldConfig.defaults;
      hold({ ...fieldConfig, defaults }, "dashboard.FieldConfigSource", place);
      if (custom) hold(custom, `${panel.type}.FieldConfig`, place);
    }
    for (const target of targets) {
      hold(target, `${target.datasource.type}.${questions[target.datasource.type]}`, place);
    }
  }
}
const name = new URL("dashboards.ts", import.meta.url).pathname;
const source = lines.join("\n");
const options = {
  strict: true,
  noEmit: true,
  skipLibCheck: true,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  types: [],
};
// The source is a file in memory only.
const host = ts.createCompilerHost(options);
const { getSourceFile, fileExists } = host;
host.getSourceFile = (path, ...more) =>
  path === name ? ts.createSourceFile(path, source, ts.ScriptTarget.Latest) : getSourceFile(path, ...more);
host.fileExists = (path) => path === name || fileExists(path);
const problems = ts.getPreEmitDiagnostics(ts.createProgram([name], options, host));
for (const problem of problems) {
  const line = problem.file?.fileName === name ? source.slice(0, problem.start).split("\n").length - 1 : -1;
  const place = line < 0 ? problem.file?.fileName : lines[line].split("// ").at(-1);
  console.error(`${place}: ${ts.flattenDiagnosticMessageText(problem.messageText, " ").slice(0, 600)}`);
}
console.log(`${checks} parts of dashboards, ${problems.length} problems`);
process.exit(problems.length === 0 && checks > 0 ? 0 : 1);
