// What scripts have besides the language and the functions in C. It is a function of the
// natives, and returns the function that engine.c asks for timeouts that are due.
(function (native) {
	"use strict";
	const timeoutLimit = 10000;
	// A heap, by their time. Those that were cleared stay in it for a while.
	const timeouts = [];
	const waiting = new Map(); // the others, by their ids
	let lastId = 0;

	function before(a, b) {
		return a.at < b.at || a.at === b.at && a.id < b.id;
	}

	function rise(i) {
		const t = timeouts[i];
		while (i > 0 && before(t, timeouts[i - 1 >> 1])) {
			timeouts[i] = timeouts[i - 1 >> 1];
			i = i - 1 >> 1;
		}
		timeouts[i] = t;
	}

	function sink(i) {
		const t = timeouts[i], n = timeouts.length;
		for (let child = 2 * i + 1; child < n; child = 2 * i + 1) {
			if (child + 1 < n && before(timeouts[child + 1], timeouts[child])) child++;
			if (!before(timeouts[child], t)) break;
			timeouts[i] = timeouts[child];
			i = child;
		}
		timeouts[i] = t;
	}

	function removeFirst() {
		const last = timeouts.pop();
		if (timeouts.length === 0) return;
		timeouts[0] = last;
		sink(0);
	}

	// The first that was not cleared, or undefined.
	function first() {
		while (timeouts.length && !waiting.has(timeouts[0].id)) removeFirst();
		return timeouts[0];
	}

	function removeCleared() {
		let n = 0;
		for (const t of timeouts) if (waiting.has(t.id)) timeouts[n++] = t;
		timeouts.length = n;
		for (let i = (n >> 1) - 1; i >= 0; i--) sink(i);
	}

	function wakeForFirst() {
		const t = first();
		native.wake(t ? Math.max(1, Math.ceil(t.at - native.now())) : -1);
	}

	function setTimeout(f, ms = 0, ...args) {
		if (typeof f !== "function") throw new TypeError("setTimeout takes a function and milliseconds");
		if (waiting.size >= timeoutLimit) throw new RangeError(`setTimeout: ${timeoutLimit} timeouts wait already`);
		const delay = Math.min(Math.max(Number(ms) || 0, 0), 0x7fffffff);
		const timeout = { id: ++lastId, at: native.now() + delay, f, args, connection: native.serving() };
		waiting.set(timeout.id, timeout);
		rise(timeouts.push(timeout) - 1);
		try {
			if (first() === timeout) wakeForFirst();
		} catch (e) {
			waiting.delete(timeout.id);
			throw e;
		}
		return timeout.id;
	}

	function clearTimeout(id) {
		const timeout = waiting.get(id);
		if (!timeout) return;
		const isFirst = first() === timeout;
		waiting.delete(id);
		timeout.f = timeout.args = timeout.connection = undefined;
		if (isFirst) wakeForFirst();
		if (timeouts.length > 2 * waiting.size + 16) removeCleared();
	}

	function due() {
		const timeout = first();
		if (timeout && timeout.at <= native.now()) {
			const { id, f, args, connection } = timeout;
			waiting.delete(id);
			removeFirst();
			return [args.length ? () => f(...args) : f, connection];
		}
		wakeForFirst();
	}

	function sleep(ms) {
		return new Promise((resolve) => { setTimeout(resolve, ms); });
	}

	// The fields of pack and unpack: what they take, how long they are, and the methods of
	// DataView for them.
	const fields = {
		b: [1, "Int8", -0x80, 0x7f], B: [1, "Uint8", 0, 0xff],
		h: [2, "Int16", -0x8000, 0x7fff], H: [2, "Uint16", 0, 0xffff],
		i: [4, "Int32", -0x80000000, 0x7fffffff], I: [4, "Uint32", 0, 0xffffffff],
		q: [8, "BigInt64", -(1n << 63n), (1n << 63n) - 1n], Q: [8, "BigUint64", 0n, (1n << 64n) - 1n],
		f: [4, "Float32"], d: [8, "Float64"],
	};

	// "<H2sB": an order, then fields, each with a count before it if there are several.
	function parse(format, what) {
		let little = false, size = 0, at = 0;
		const list = [];
		if (typeof format !== "string") throw new TypeError(`${what}: the format is text, such as ">HBI"`);
		if (format[0] === "<" || format[0] === ">") little = format[at++] === "<";
		while (at < format.length) {
			let digits = at;
			while (format[at] >= "0" && format[at] <= "9") at++;
			const count = at > digits ? Number(format.slice(digits, at)) : 1;
			const kind = format[at++];
			if (kind !== "s" && kind !== "x" && !(kind in fields))
				throw new TypeError(`${what}: ${JSON.stringify(format)} has no field at ${at - 1}; there are b B h H i I q Q f d s x`);
			const width = kind === "s" || kind === "x" ? 1 : fields[kind][0];
			size += count * width;
			if (size > 65536) throw new RangeError(`${what}: ${JSON.stringify(format)} is longer than 65536 bytes`);
			list.push([kind, count]);
		}
		return { little, size, list };
	}

	function pack(format, ...values) {
		const { little, size, list } = parse(format, "pack");
		const out = new Uint8Array(size), view = new DataView(out.buffer);
		let at = 0, used = 0;
		for (const [kind, count] of list) {
			if (kind === "x") {
				at += count;
				continue;
			}
			if (kind === "s") {
				const b = bytes(values[used++]);
				if (b.length > count) throw new RangeError(`pack: value ${used} has ${b.length} bytes, and the field ${count}`);
				out.set(b, at);
				at += count;
				continue;
			}
			const [width, name, least, most] = fields[kind];
			for (let i = 0; i < count; i++, at += width) {
				let v = values[used++];
				if (width === 8 && least !== undefined) {
					if (typeof v === "number" && Number.isSafeInteger(v)) v = BigInt(v);
					if (typeof v !== "bigint") throw new TypeError(`pack: value ${used} is no whole number`);
				} else if (typeof v !== "number" || least !== undefined && !Number.isInteger(v))
					throw new TypeError(`pack: value ${used} is no ${least === undefined ? "" : "whole "}number`);
				if (least !== undefined && (v < least || v > most))
					throw new RangeError(`pack: value ${used} is ${v}, and ${kind} holds ${least} to ${most}`);
				view["set" + name](at, v, little);
			}
		}
		if (used !== values.length) throw new TypeError(`pack: the format has ${used} values, and ${values.length} were given`);
		return out;
	}

	function unpack(format, from, start = 0) {
		const { little, size, list } = parse(format, "unpack");
		if (!(from instanceof Uint8Array)) throw new TypeError("unpack takes a Uint8Array; bytes(...) makes one of text");
		if (start < 0 || start + size > from.length)
			throw new RangeError(`unpack: the format has ${size} bytes, and ${Math.max(0, from.length - start)} are there`);
		const view = new DataView(from.buffer, from.byteOffset, from.byteLength), values = [];
		let at = start;
		for (const [kind, count] of list) {
			if (kind === "s") values.push(from.slice(at, at + count));
			if (kind === "s" || kind === "x") {
				at += count;
				continue;
			}
			const [width, name] = fields[kind];
			for (let i = 0; i < count; i++, at += width) values.push(view["get" + name](at, little));
		}
		return values;
	}

	function concat(...parts) {
		const all = parts.map((p) => bytes(p));
		const out = new Uint8Array(all.reduce((n, p) => n + p.length, 0));
		let at = 0;
		for (const p of all) {
			out.set(p, at);
			at += p.length;
		}
		return out;
	}

	for (const f of [setTimeout, clearTimeout, sleep, pack, unpack, concat])
		Object.defineProperty(globalThis, f.name, { value: f, writable: true, configurable: true });
	return due;
})
