# Uses what the files of types declare, for Pyright to check and for the engine to run.
import crc


def open(c: "Connection") -> None:
    c.send(config["greeting"] + "\n")


async def line(c: "Connection", text: str) -> None:
    b = text.encode()
    sums = [crc.x25(b), crc.modbus(b), crc.xmodem(b), crc.ccitt(b), crc.crc32(b)]
    assert len(sums) == 5 and len(random_bytes(4)) == 4
    facts = [c.peer, c.local_address, c.listener, c.tenant, c.transport, c.server_name, c.alpn, c.tls_version,
             c.cipher, c.client_subject, c.client_names, c.client_fingerprint, c.certificate,
             c.target, c.origin, c.subprotocol]
    assert c.message_type == ""
    assert len("".join(facts)) > 0 and c.waiting == 0
    log("called")
    log.debug("line", len(text))
    count("lines")
    count("lines", 2)
    cancel(after(1000, lambda: None))
    spawn(later(c))
    await sleep(1)
    c.timer(1, -1)
    c.pause()
    c.resume()
    try:
        await dial("tcp://10.0.0.1:1")
    except OSError as e:
        log.info(e)


async def later(c: "Connection") -> None:
    await sleep(20)
    c.send(b"ok\n")
    c.close()
