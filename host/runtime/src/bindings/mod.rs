//! Rust types for the WIT contracts. They stay in this crate: [`convert`] turns them into the domain's types, once, at
//! the edge.
//!
//! Each world below has just the half that the host is concerned with. A plugin may target any world of `wit/` that
//! exports the same interface; what it may import is not a world's business but its grants'.

pub(crate) mod convert;

/// `keygate:crypto/backend`, exported by backends.
pub(crate) mod crypto {
    wasmtime::component::bindgen!({
        inline: "
            package keygate:crypto-guest;
            world backend-guest { export keygate:crypto/backend@0.1.0; }
        ",
        path: ["../../wit/host", "../../wit/crypto"],
        world: "keygate:crypto-guest/backend-guest",
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// `keygate:policy/rule`, exported by rules.
pub(crate) mod policy {
    wasmtime::component::bindgen!({
        inline: "
            package keygate:policy-guest;
            world rule-guest { export keygate:policy/rule@0.1.0; }
        ",
        path: ["../../wit/host", "../../wit/policy"],
        world: "keygate:policy-guest/rule-guest",
        exports: { default: async },
    });
}

/// `keygate:host/log` and `keygate:host/clock`.
pub(crate) mod open {
    wasmtime::component::bindgen!({
        inline: "
            package keygate:open-host;
            world open-host { import keygate:host/log@0.1.0; import keygate:host/clock@0.1.0; }
        ",
        path: "../../wit/host",
        world: "keygate:open-host/open-host",
        imports: { default: trappable },
    });
}

/// `keygate:host/pkcs11`: its types. Its functions are linked by hand, because plaintexts that go into a sandbox must be wiped
/// on this side.
pub(crate) mod tokens {
    wasmtime::component::bindgen!({
        inline: "
            package keygate:tokens-host;
            world tokens-host { import keygate:host/pkcs11@0.1.0; }
        ",
        path: "../../wit/host",
        world: "keygate:tokens-host/tokens-host",
        with: {
            "keygate:host/pkcs11.token": keygate_pkcs11::Token,
            "keygate:host/pkcs11.key": keygate_pkcs11::Key,
        },
    });
}

/// `keygate:host/secrets`. Its types wipe themselves: the runtime copies a secret into a sandbox and drops its own copy.
pub(crate) mod secrets {
    wasmtime::component::bindgen!({
        inline: "
            package keygate:secrets-host;
            world secrets-host { import keygate:host/secrets@0.1.0; }
        ",
        path: "../../wit/host",
        world: "keygate:secrets-host/secrets-host",
        imports: { default: trappable },
        additional_derives: [zeroize::ZeroizeOnDrop],
    });
}
