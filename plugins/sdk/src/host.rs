//! What the host may grant: a log, randomness, secrets, tokens. Natively, [`crate::testing`] answers.

/// Tell the operator something. Granted as `log`. Never log key material, plaintext or AAD.
pub mod log {
    pub use crate::bindings::backend::keygate::host::log::Level;

    /// Emits one line. The host adds the plugin's name and the request id, and cuts what is too long
    /// (`keygate:host/log`). Never fails.
    pub fn emit(level: Level, message: &str, fields: &[(&str, &str)]) {
        let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        #[cfg(target_arch = "wasm32")]
        crate::bindings::backend::keygate::host::log::emit(level, message, &fields);
        #[cfg(not(target_arch = "wasm32"))]
        crate::testing::emit(level, message, fields);
    }

    /// A line that is dropped unless the operator asked for such.
    pub fn debug(message: &str, fields: &[(&str, &str)]) {
        emit(Level::Debug, message, fields);
    }

    /// A line worth knowing.
    pub fn info(message: &str, fields: &[(&str, &str)]) {
        emit(Level::Info, message, fields);
    }

    /// A line worth looking into.
    pub fn warn(message: &str, fields: &[(&str, &str)]) {
        emit(Level::Warn, message, fields);
    }

    /// A line that somebody must act on.
    pub fn error(message: &str, fields: &[(&str, &str)]) {
        emit(Level::Error, message, fields);
    }
}

/// The gateway's clock. Granted as `clock`; backends only: a rule finds the time in the question.
pub mod clock {
    /// Milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted. Not monotonic.
    pub fn now_unix_ms() -> u64 {
        #[cfg(target_arch = "wasm32")]
        return crate::bindings::backend::keygate::host::clock::now_unix_ms();
        #[cfg(not(target_arch = "wasm32"))]
        crate::testing::now_unix_ms()
    }
}

/// Entropy of the host's cryptographically secure generator. Granted as `random`; backends only.
pub mod random {
    use zeroize::Zeroizing;

    /// The most bytes of one call to the host.
    pub const MAX_BYTES: u32 = 4_096;

    /// `len` bytes (at most 4,096; 65,536 in the life of a sandbox).
    ///
    /// More traps, and so does a host without entropy: there is no weaker answer to handle.
    pub fn bytes(len: u32) -> Zeroizing<Vec<u8>> {
        #[cfg(target_arch = "wasm32")]
        let bytes = crate::bindings::backend::keygate::host::random::bytes(len);
        #[cfg(not(target_arch = "wasm32"))]
        let bytes = crate::testing::random(len);
        Zeroizing::new(bytes)
    }
}

/// Secrets that the operator granted to this plugin by name. Granted as `secrets = ["NAME", ...]`; backends only.
pub mod secrets {
    use zeroize::Zeroizing;

    pub use crate::bindings::backend::keygate::host::secrets::Error;

    /// One version of a secret. Wiped when dropped.
    pub struct Secret {
        /// From 1 up.
        pub version: u32,
        /// 1 to 4,096 bytes.
        pub value: Zeroizing<Vec<u8>>,
    }

    /// The version to seal new things under.
    ///
    /// # Errors
    /// Not granted, or its source cannot be read now.
    pub fn current(name: &str) -> Result<Secret, Error> {
        #[cfg(target_arch = "wasm32")]
        return crate::bindings::backend::keygate::host::secrets::current(name).map(own);
        #[cfg(not(target_arch = "wasm32"))]
        crate::testing::current_secret(name)
    }

    /// A named version, to open what was sealed under it.
    ///
    /// # Errors
    /// Not granted, no such version, or its source cannot be read now.
    pub fn version(name: &str, version: u32) -> Result<Secret, Error> {
        #[cfg(target_arch = "wasm32")]
        return crate::bindings::backend::keygate::host::secrets::version(name, version).map(own);
        #[cfg(not(target_arch = "wasm32"))]
        crate::testing::secret_version(name, version)
    }

    #[cfg(target_arch = "wasm32")]
    fn own(secret: crate::bindings::backend::keygate::host::secrets::Secret) -> Secret {
        Secret { version: secret.version, value: Zeroizing::new(secret.value) }
    }
}

pub mod pkcs11;
