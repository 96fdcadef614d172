// Run every file in onnxruntime-node or onnxruntime-web and print what came out, a JSON line a file.
//
//     node run.mjs KIND FOLDER FIRST PACKAGES
//
// PACKAGES is the folder that has node_modules; the rest is as in run.py.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [kind, folder, first, packages] = process.argv.slice(2);
const require = createRequire(pathToFileURL(join(packages, "package.json")));
const found = await import(pathToFileURL(require.resolve(kind)));
const library = found.InferenceSession ? found : found.default;
library.env.logLevel = "fatal";
if (kind === "onnxruntime-web") library.env.wasm.numThreads = 1;

function numbers(one, ending, Type) {
  const bytes = readFileSync(join(folder, `${one.file}.${ending}`));
  return new Type(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

// The largest difference, and the largest as a share of the allowed one; null where there is none.
function compared(got, right, allowed, shape) {
  if (got.dims.join() !== shape.join()) return null;
  let [off, share] = [0, 0];
  for (let index = 0; index < right.length; index += 1) {
    const apart = Math.abs(got.data[index] - right[index]);
    if (!Number.isFinite(apart)) return null;
    [off, share] = [Math.max(off, apart), Math.max(share, apart / allowed[index % allowed.length])];
  }
  return [off, share];
}

async function answer(one) {
  const [rows, allowed] = [numbers(one, "given", Float32Array), numbers(one, "allowed", Float64Array)];
  const [count, ...width] = one.given_shape;
  try {
    const file = readFileSync(join(folder, one.file));
    const begun = performance.now();
    const session = await library.InferenceSession.create(new Uint8Array(file), { intraOpNumThreads: 1 });
    const milliseconds = performance.now() - begun;
    const found = [];
    for (const [many, ending] of [[1, "one"], [count, "right"]]) {
      const part = rows.slice(0, (rows.length / count) * many);
      const feed = { [session.inputNames[0]]: new library.Tensor("float32", part, [many, ...width]) };
      const got = (await session.run(feed))[session.outputNames[0]];
      found.push(compared(got, numbers(one, ending, Float64Array), allowed, [many, ...one.right_shape]));
    }
    await session.release();
    const [off, share] = found.includes(null) ? [null, null] : [0, 1].map((k) => Math.max(...found.map((f) => f[k])));
    return { off, share, milliseconds, operators: {} };
  } catch (fault) {
    return { refused: String(fault).replace(/\s+/g, " ").slice(0, 300) };
  }
}

for (const one of JSON.parse(readFileSync(join(folder, "cases.json"), "utf8")).slice(Number(first))) {
  process.stdout.write(`${JSON.stringify(await answer(one))}\n`);
}
process.exit(0);
