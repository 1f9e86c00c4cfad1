export { Chat, type Snapshot } from './chat.js';
export type { Conversation, Marks, Shown } from './conversation.js';
