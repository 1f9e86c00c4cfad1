/** For a `<script>` tag: the global `Switchboard`. */

import { Switchboard } from './client.js';
import { SwitchboardError } from './error.js';

Object.assign(globalThis, { Switchboard: Object.assign(Switchboard, { SwitchboardError }) });
