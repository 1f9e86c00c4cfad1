#![no_main]

fuzz::target!(gateway::fuzzing::protobuf_frames);
