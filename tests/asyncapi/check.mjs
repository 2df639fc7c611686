// node check.mjs FILE: prints "valid", or what the parser has against the document, and exits with 1.
import { readFile } from "node:fs/promises";
import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(await readFile(process.argv[2], "utf8"));
const severe = diagnostics.filter(({ severity }) => severity <= 1);
for (const { path, message } of severe) console.log(`${path.join(".")}: ${message}`);
if (document === undefined || severe.length > 0) process.exit(1);
console.log("valid");
