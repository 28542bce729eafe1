//! Builds one template version from one directory with `packer init`, `validate` and `build`.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::event::{self, Event, Level};
use crate::failure::{Class, Error, Failure, classify};
use crate::locate::Packer;
use crate::process::{self, Interruption, Limits, Output};
use crate::redact::Redactor;
use crate::template::Template;

/// Number of output lines in a failure.
const TAIL: usize = 15;

/// Input of one build.
#[derive(Debug)]
pub struct Build<'a> {
    /// Directory of the Packer template. Packer runs in it.
    pub directory: &'a Path,
    /// Variables, including secret ones. Packer gets them in a file that only this user can read, and that exists only
    /// during the build.
    pub variables: serde_json::Map<String, serde_json::Value>,
    /// Values that are removed from all output.
    pub secrets: Vec<SecretString>,
    /// Certificates in PEM that Packer trusts in addition to the system's. They are passed in `SSL_CERT_FILE`, because
    /// Packer has no option for them.
    pub certificates: Option<String>,
    /// Token that ends the build cleanly.
    pub cancel: CancellationToken,
    /// Time at which the build is ended cleanly.
    pub deadline: Option<Instant>,
    /// Time that Packer gets to stop and delete the VM before it is killed.
    pub grace: Duration,
}

/// A build that succeeded.
#[derive(Debug)]
pub struct Outcome {
    /// Ids that the builders reported, without repetition. The Proxmox builders report VMIDs in decimal.
    pub artifacts: Vec<String>,
}

impl Packer {
    /// Installs required plugins if this version of Packer can, then validates and builds.
    ///
    /// # Errors
    /// [`Error::Failed`] with its class. [`Error::Template`], [`Error::Scratch`] and [`Error::Start`] occur before
    /// Packer has run.
    pub async fn build(&self, build: &Build<'_>, mut on_event: impl FnMut(&Event)) -> Result<Outcome, Error> {
        let template = Template::read(build.directory)?;
        let scratch = Scratch::new(build, &template)?;
        self.prepare(build, &template, &scratch, &mut on_event).await?;

        let arguments: Vec<OsString> =
            ["build", "-color=false", "-machine-readable", "-timestamp-ui", "-on-error=cleanup", "-parallel-builds=1"]
                .map(OsString::from)
                .into();
        let heard = self.run(build, &scratch, arguments, &mut on_event).await?;
        match heard.failure(None) {
            Some(failure) => Err(Error::Failed(Failure { cds: scratch.cds(), ..failure })),
            None => Ok(Outcome { artifacts: heard.artifacts }),
        }
    }

    async fn prepare(
        &self,
        build: &Build<'_>,
        template: &Template,
        scratch: &Scratch,
        mut on_event: impl FnMut(&Event),
    ) -> Result<(), Error> {
        if template.requires_plugins && self.has_init() {
            let heard =
                self.run(build, scratch, vec!["init".into(), "-machine-readable".into()], &mut on_event).await?;
            if let Some(failure) = heard.failure(Some(Class::Plugins)) {
                return Err(Error::Failed(failure));
            }
        }
        let arguments: Vec<OsString> = vec!["validate".into(), "-machine-readable".into()];
        let heard = self.run(build, scratch, arguments, &mut on_event).await?;
        heard.failure(Some(Class::Config)).map_or(Ok(()), |failure| Err(Error::Failed(failure)))
    }

    async fn run(
        &self,
        build: &Build<'_>,
        scratch: &Scratch,
        mut arguments: Vec<OsString>,
        mut on_event: impl FnMut(&Event),
    ) -> Result<Heard, Error> {
        let subcommand = arguments.first().cloned().unwrap_or_default();
        if subcommand != "init" {
            let mut flag = OsString::from("-var-file=");
            flag.push(&scratch.variables);
            arguments.push(flag);
        }
        arguments.push(".".into());

        let mut command = std::process::Command::new(self.program());
        command.args(&arguments).current_dir(build.directory);
        scratch.environment(&mut command);

        let limits = Limits {
            cancel: build.cancel.clone(),
            deadline: build.deadline,
            grace: build.grace,
            scratch: scratch.directory.path().to_owned(),
        };
        let redactor = Redactor::new(&build.secrets);
        let mut heard = Heard::default();
        let end = process::run(command, limits, |output| heard.take(&redactor, output, &mut on_event))
            .await
            .map_err(|source| Error::Start { program: self.program().to_owned(), source })?;
        heard.end = Some(end);
        tracing::debug!(?subcommand, status = %end.status, "Packer ended");
        Ok(heard)
    }
}

/// Information found in the output of a run.
#[derive(Default)]
struct Heard {
    artifacts: Vec<String>,
    /// Errors that ended builds.
    finals: Vec<String>,
    /// Lines for an error message, oldest first.
    lines: Vec<String>,
    /// True if a builder began.
    started: bool,
    end: Option<process::End>,
}

impl Heard {
    fn take(&mut self, redactor: &Redactor, output: Output, on_event: &mut impl FnMut(&Event)) {
        let (raw, from_stdout) = match output {
            Output::Stdout(line) => (line, true),
            Output::Stderr(line) => (line, false),
        };
        // Each line is cleaned twice. A secret with a comma or a line break is whole only after parsing, and a secret
        // that looks like an escape sequence only before.
        let raw = redactor.clean(&raw);
        let Some(event) = event::parse(&raw).filter(|_| from_stdout).map(|event| redacted(event, redactor)) else {
            if !raw.trim().is_empty() && !raw.contains(",,error-count,") && !is_artifact_detail(&raw) {
                self.lines.push(raw);
            }
            return;
        };
        self.note(&event);
        on_event(&event);
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Line { level, text } => {
                self.started |= *level == Level::Say
                    && text.trim_start().starts_with("==> ")
                    && !text.contains("Wait completed")
                    && !text.contains("builds didn't complete");
                self.lines
                    .extend(text.lines().map(str::trim_end).filter(|line| !line.trim().is_empty()).map(str::to_owned));
            }
            Event::BuildError { message, .. } => self.finals.push(message.clone()),
            Event::ArtifactId { id, .. } => {
                if !self.artifacts.contains(id) {
                    self.artifacts.push(id.clone());
                }
            }
        }
    }

    /// Returns the failure of a run. `usual` is its class if it is neither a crash nor an interruption.
    fn failure(&self, usual: Option<Class>) -> Option<Failure> {
        let end = self.end?;
        if end.status.success() && end.interrupted.is_none() {
            return None;
        }
        let class = match end.interrupted {
            Some(Interruption::Cancelled) => Class::Cancelled,
            Some(Interruption::Deadline) => Class::TimedOut,
            None if end.status.code().is_none() => Class::Crashed,
            None => usual.unwrap_or_else(|| classify(self.started, &self.finals, &self.lines)),
        };
        Some(Failure { class, lines: self.tail(), cds: Vec::new() })
    }

    fn tail(&self) -> Vec<String> {
        let noise = |line: &&String| {
            !["Wait completed", "Builds finished but no artifacts", "Some builds didn't complete", "-->"]
                .iter()
                .any(|noise| line.contains(noise))
        };
        let mut lines: Vec<String> = self.lines.iter().filter(noise).rev().take(TAIL).cloned().collect();
        lines.reverse();
        lines.extend(
            self.finals.iter().filter(|last| !self.lines.iter().any(|line| line.contains(last.as_str()))).cloned(),
        );
        lines
    }
}

fn is_artifact_detail(line: &str) -> bool {
    let mut fields = line.split(',').skip(2);
    matches!(
        fields.next(),
        Some("artifact" | "artifact-count" | "version" | "version-prelease" | "version-commit" | "error-count")
    )
}

fn redacted(event: Event, redactor: &Redactor) -> Event {
    match event {
        Event::Line { level, text } => Event::Line { level, text: redactor.clean(&text) },
        Event::BuildError { target, message } => Event::BuildError { target, message: redactor.clean(&message) },
        Event::ArtifactId { target, id } => Event::ArtifactId { target, id },
    }
}

/// A temporary directory for the files that Packer would otherwise put into the user's home. It is removed when this
/// value is dropped.
struct Scratch {
    directory: tempfile::TempDir,
    variables: PathBuf,
    certificates: Option<PathBuf>,
}

impl Scratch {
    fn new(build: &Build<'_>, template: &Template) -> Result<Self, Error> {
        let directory = tempfile::Builder::new().prefix("pxci-packer-").tempdir().map_err(Error::Scratch)?;
        for name in ["cache", "config", "tmp"] {
            std::fs::create_dir(directory.path().join(name)).map_err(Error::Scratch)?;
        }
        let variables = directory.path().join("pxci.pkrvars.json");
        // Packer warns about variables that the template does not declare, so they are left out.
        let declared: serde_json::Map<_, _> = build
            .variables
            .iter()
            .filter(|(name, _)| template.variables.contains(*name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        write_private(&variables, &serde_json::Value::Object(declared).to_string()).map_err(Error::Scratch)?;
        let certificates = directory.path().join("certificates.pem");
        if let Some(pem) = &build.certificates {
            write_private(&certificates, pem).map_err(Error::Scratch)?;
        }
        let certificates = build.certificates.is_some().then_some(certificates);
        Ok(Self { directory, variables, certificates })
    }

    /// Returns the file names of the CD images in Packer's directory for temporary files. Packer removes them when it
    /// ends normally.
    fn cds(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path().join("tmp")).into_iter().flatten().filter_map(Result::ok);
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("packer") && name.ends_with(".iso")).collect()
    }

    /// Sets the environment of the command: the caller's, without variables that would change the build and without our
    /// own credentials.
    fn environment(&self, command: &mut std::process::Command) {
        const OURS: &[&str] = &["PKR_VAR_", "PACKER_", "PXCI_", "PROXMOX_", "TF_", "TOFU_"];
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if OURS.iter().any(|prefix| text.starts_with(prefix))
                || ["GITHUB_TOKEN", "GH_TOKEN"].contains(&text.as_ref())
            {
                command.env_remove(&name);
            }
        }
        let inside = |name: &str| self.directory.path().join(name);
        command
            .env("PACKER_CACHE_DIR", inside("cache"))
            .env("PACKER_CONFIG_DIR", inside("config"))
            .env("TMPDIR", inside("tmp"))
            .env("PACKER_NO_COLOR", "1")
            .env("CHECKPOINT_DISABLE", "1");
        if let Some(certificates) = &self.certificates {
            command.env("SSL_CERT_FILE", certificates);
        }
        if let Some(plugins) = plugin_directory() {
            command.env("PACKER_PLUGIN_PATH", plugins);
        }
    }
}

/// Returns Packer's usual directory for plugins, because plugins are large and builds share them.
fn plugin_directory() -> Option<OsString> {
    if let Some(named) = std::env::var_os("PACKER_PLUGIN_PATH") {
        return Some(named);
    }
    let configuration = std::env::var_os("PACKER_CONFIG_DIR").map(PathBuf::from).or_else(|| {
        let base = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
        base.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")))
            .map(|base| base.join("packer"))
    })?;
    Some(configuration.join("plugins").into_os_string())
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}
