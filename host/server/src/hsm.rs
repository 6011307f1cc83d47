//! The PKCS#11 tokens of the process: started once, granted to plugins by their names, stopped before the process ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keygate_core::ports::{Clock, Entropy};
use keygate_core::secret::SecretText;
use keygate_pkcs11::{Health, Modules, StartError, Surroundings, Token};
use keygate_runtime::Tokens;

use crate::config::Config;
use crate::problem::Problem;

/// How long `keygate check` waits for a token: the login of some takes seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long C_Finalize may take.
const FINALISING: Duration = Duration::from_secs(5);

/// The tokens of `[[tokens]]`. They live as long as the process: a reload of plugins leaves them as they are.
#[derive(Debug, Default)]
pub struct HsmTokens {
    tokens: BTreeMap<String, Token>,
    modules: Arc<Modules>,
}

impl Tokens for HsmTokens {
    fn token(&self, name: &str) -> Option<Token> {
        self.tokens.get(name).cloned()
    }
}

impl HsmTokens {
    /// Loads the modules and starts the tokens' workers, and says what is in the way of that. Whether a token is there and
    /// takes its PIN shows at its first use. Waits for the disk, and for the modules.
    pub fn start(config: &Config, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> (Self, Vec<Problem>) {
        let environment = config.environment.clone();
        let around = Surroundings {
            clock,
            entropy,
            environment: Arc::new(move |name| environment.get(name).map(|pin| SecretText::new(pin.to_owned()))),
        };
        let modules = Arc::new(Modules::new());
        let (mut tokens, mut problems) = (BTreeMap::new(), Vec::new());
        for token in &config.tokens {
            match Token::start(token.clone(), &modules, around.clone()) {
                Ok(started) => drop(tokens.insert(token.name.clone(), started)),
                Err(error) => problems.push(start_problem(&token.name, &error)),
            }
        }
        (Self { tokens, modules }, problems)
    }

    /// Sees that every token can be reached and logged into.
    pub async fn connect(&self) -> Vec<Problem> {
        let deadline = Instant::now() + PATIENCE;
        // All at a time: begun before the first is waited for.
        let begun: Vec<_> = self.tokens.values().map(|token| (token, token.connect(deadline))).collect();
        let mut problems = Vec::new();
        for (token, pending) in begun {
            if let Err(error) = pending.await {
                // A link that cannot be made is told as unavailable; the health knows the token's own word for it.
                let told = error.to_string();
                let last = token.health().last_error.map(|last| last.what).filter(|what| !told.contains(what.as_str()));
                let problem = format!("token `{}`: {told}{}", token.name(), detail(last));
                let mend = "see that the token is there, that its PIN is right, and that the gateway's user may use it";
                problems.push(Problem::new("tokens", problem, mend));
            }
        }
        problems
    }

    /// How each of them is.
    pub fn health(&self) -> Vec<Health> {
        self.tokens.values().map(Token::health).collect()
    }

    /// Stops them: what waits is refused, what is inside a module may finish. Call this before the process ends, and not on a
    /// thread that others wait for: it takes up to five seconds a token, and as long again to finalise the modules.
    pub fn stop(&self) {
        for token in self.tokens.values() {
            token.stop();
        }
        // Not for ever: a module that is the client of a network may hang in this, too.
        let (modules, (done, ended)) = (Arc::clone(&self.modules), std::sync::mpsc::channel());
        let begun = std::thread::Builder::new().spawn(move || {
            modules.end();
            let _ = done.send(());
        });
        if begun.is_ok() {
            let _ = ended.recv_timeout(FINALISING);
        }
    }
}

/// For who ends otherwise than by serving to the end.
impl Drop for HsmTokens {
    fn drop(&mut self) {
        self.stop();
    }
}

fn detail(last: Option<String>) -> String {
    last.map(|what| format!(" ({what})")).unwrap_or_default()
}

fn start_problem(name: &str, error: &StartError) -> Problem {
    let mend = match error {
        StartError::Config { .. } => "correct the token's entry under `[[tokens]]`",
        StartError::Module { .. } => {
            "install the vendor's module, name it in `module`, and see that its own configuration and environment are there"
        }
        StartError::Threads { .. } => "let the gateway have more threads, or set fewer `sessions`",
    };
    Problem::new("tokens", format!("token `{name}`: {error}"), mend)
}
