//! The part of WASI 0.2 that the guest imports, as its standard has it, in several of its patches.
#![allow(
    unsafe_code,
    reason = "generated: moving values over the canonical ABI takes raw pointers and exported symbols"
)]
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]

wit_bindgen::generate!({
    inline: "
        package keygate:wasi-guest;

        package wasi:io@0.2.6 {
            interface error {
                resource error { to-debug-string: func() -> string; }
            }
            interface poll {
                resource pollable { ready: func() -> bool; block: func(); }
                poll: func(in: list<borrow<pollable>>) -> list<u32>;
            }
            interface streams {
                use error.{error};
                use poll.{pollable};
                variant stream-error { last-operation-failed(error), closed }
                resource input-stream {
                    read: func(len: u64) -> result<list<u8>, stream-error>;
                    subscribe: func() -> pollable;
                }
                resource output-stream {
                    check-write: func() -> result<u64, stream-error>;
                    write: func(contents: list<u8>) -> result<_, stream-error>;
                    blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
                    subscribe: func() -> pollable;
                }
            }
        }
        package wasi:cli@0.2.6 {
            interface environment {
                get-environment: func() -> list<tuple<string, string>>;
                get-arguments: func() -> list<string>;
                initial-cwd: func() -> option<string>;
            }
            interface exit { exit: func(status: result); }
            interface stdin { use wasi:io/streams@0.2.6.{input-stream}; get-stdin: func() -> input-stream; }
            interface stdout { use wasi:io/streams@0.2.6.{output-stream}; get-stdout: func() -> output-stream; }
            interface stderr { use wasi:io/streams@0.2.6.{output-stream}; get-stderr: func() -> output-stream; }
            interface terminal-output { resource terminal-output; }
            interface terminal-stdout {
                use terminal-output.{terminal-output};
                get-terminal-stdout: func() -> option<terminal-output>;
            }
        }
        package wasi:clocks@0.2.0 {
            interface wall-clock {
                record datetime { seconds: u64, nanoseconds: u32 }
                now: func() -> datetime;
            }
        }
        package wasi:clocks@0.2.6 {
            interface monotonic-clock {
                use wasi:io/poll@0.2.6.{pollable};
                type instant = u64;
                type duration = u64;
                now: func() -> instant;
                subscribe-duration: func(when: duration) -> pollable;
            }
        }
        package wasi:random@0.2.3 {
            interface random {
                get-random-bytes: func(len: u64) -> list<u8>;
                get-random-u64: func() -> u64;
            }
            interface insecure-seed { insecure-seed: func() -> tuple<u64, u64>; }
        }
        package wasi:filesystem@0.2.6 {
            interface types { resource descriptor { sync: func() -> bool; } }
            interface preopens {
                use types.{descriptor};
                get-directories: func() -> list<tuple<descriptor, string>>;
            }
        }
        package wasi:sockets@0.2.99 {
            interface network { resource network; }
            interface instance-network {
                use network.{network};
                instance-network: func() -> network;
            }
        }

        world wasi-guest {
            import wasi:cli/environment@0.2.6;
            import wasi:cli/exit@0.2.6;
            import wasi:cli/stdin@0.2.6;
            import wasi:cli/stdout@0.2.6;
            import wasi:cli/stderr@0.2.6;
            import wasi:cli/terminal-stdout@0.2.6;
            import wasi:clocks/wall-clock@0.2.0;
            import wasi:clocks/monotonic-clock@0.2.6;
            import wasi:random/random@0.2.3;
            import wasi:random/insecure-seed@0.2.3;
            import wasi:filesystem/preopens@0.2.6;
            import wasi:sockets/instance-network@0.2.99;
            import wasi:io/poll@0.2.6;
        }
    ",
    world: "keygate:wasi-guest/wasi-guest",
    generate_all,
});
