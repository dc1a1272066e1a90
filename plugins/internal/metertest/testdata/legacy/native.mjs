// Runs the scripts that wast2json has made on the engine of Node, which has legacy exceptions
// itself: node native.mjs catch.json ...
import { readFileSync } from 'node:fs'

const word = new DataView(new ArrayBuffer(8))
function value({ type, value }) {
  word.setBigUint64(0, BigInt(value), true)
  switch (type) {
    case 'i32': return word.getInt32(0, true)
    case 'i64': return word.getBigInt64(0, true)
    case 'f32': return word.getFloat32(0, true)
    case 'f64': return word.getFloat64(0, true)
  }
  throw new Error(`the type ${type}`)
}

let failed = 0, ran = 0
for (const script of process.argv.slice(2)) {
  let instance
  for (const c of JSON.parse(readFileSync(script)).commands) {
    const bytes = c.filename && readFileSync(c.filename)
    const invoke = () => instance.exports[c.action.field](...c.action.args.map(value))
    const fail = why => { failed++; console.error(`${script}, line ${c.line}: ${why}`) }
    ran++
    switch (c.type) {
      case 'module':
        instance = new WebAssembly.Instance(new WebAssembly.Module(bytes))
        break
      case 'assert_invalid':
        if (WebAssembly.validate(bytes)) fail('it is valid')
        break
      case 'assert_return': {
        const got = invoke()
        const want = c.expected.length ? value(c.expected[0]) : undefined
        if (!Object.is(got, want)) fail(`${c.action.field}: ${got}, not ${want}`)
        break
      }
      case 'assert_exception':
      case 'assert_trap':
        try {
          fail(`${c.action.field}: ${invoke()}`)
        } catch (e) {
          if (e instanceof WebAssembly.Exception !== (c.type === 'assert_exception')) fail(`${c.action.field}: ${e}`)
        }
        break
      default:
        fail(`the command ${c.type}`)
    }
  }
}
console.log(`${ran} commands, ${failed} failed`)
process.exit(failed ? 1 : 0)
