import { Handler, Instance } from "./handler";

/** What makes the handler of a connection that is accepted. */
export let accept: () => Handler = () => new Handler();
export let instance: Instance = new Instance();

/**
 * Serves: `make` makes the handler of each connection that is accepted. It is said once, at the top
 * level of the handler's file.
 */
export function serve(make: () => Handler, shared: Instance = new Instance()): void {
  accept = make;
  instance = shared;
}
