#![no_main]

fuzz::target!(gateway::fuzzing::proxy_headers);
