export { Switchboard, type Options, type Events, type Own } from './client.js';
export { SwitchboardError, type ErrorCode } from './error.js';
export type {
  Command,
  Frame,
  Frames,
  FrameType,
  GoawayReason,
  Json,
  Member,
  Message,
  Placed,
  Presence,
  Recipient,
  Role,
  Sent,
  Summary,
} from './frames.js';
export type { State } from './connector.js';
export type { Entry } from './outbox.js';
export type { Storage } from './storage.js';
export type { Link, Opening, Platform, Transport, TransportName } from './transports/transport.js';
