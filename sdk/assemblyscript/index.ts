// Handlers for Bulkhead in AssemblyScript: README.md says how.

export {
  Code, codeName, LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, MAX_TIMERS,
  INFO_PEER, INFO_LOCAL, INFO_LISTENER, INFO_TENANT, INFO_TRANSPORT, INFO_SERVER_NAME, INFO_ALPN,
  INFO_TLS_VERSION, INFO_CIPHER, INFO_CLIENT_SUBJECT, INFO_CLIENT_NAMES, INFO_CLIENT_FINGERPRINT,
  INFO_CERTIFICATE,
} from "./abi";
export { decode, encode, Reader, Writer } from "./bytes";
export { Conn, connect, DEFAULT_WRITE_LIMIT } from "./conn";
export { Framing, Lines, Until, Prefixed, Fixed, WINDOW } from "./framing";
export { Handler, Instance } from "./handler";
export { config, configText, log, count, random, now, monotonic, setTimer, clearTimer } from "./host";
export { Json } from "./json";
export { serve } from "./serve";
