//! Which traces are exported: the samplers that OpenTelemetry's variables name.

use super::variables::Variables;

/// Which spans are exported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// Whether a span goes along with its parent, where it has one.
    with_parent: bool,
    /// The share of the other traces, 0 to 1.
    share: f64,
}

impl Default for Sampler {
    /// What is recorded by whoever began the trace, and all that amb begins.
    fn default() -> Self {
        Self {
            with_parent: true,
            share: 1.0,
        }
    }
}

impl Sampler {
    /// The one that `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG` name.
    pub(super) fn read(variables: &mut Variables<'_>) -> Self {
        let Some(name) = variables.value("OTEL_TRACES_SAMPLER") else {
            return Self::default();
        };
        let (with_parent, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name),
        };
        let share = match root {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => Self::ratio(variables),
            _ => {
                variables.pass_over("OTEL_TRACES_SAMPLER", "names a sampler that amb does not know");
                return Self::default();
            }
        };
        Self { with_parent, share }
    }

    /// The share that the sampler's argument names; all if it names none.
    fn ratio(variables: &mut Variables<'_>) -> f64 {
        let name = "OTEL_TRACES_SAMPLER_ARG";
        let Some(written) = variables.value(name) else {
            return 1.0;
        };
        let read = written.parse().ok().filter(|share| (0.0..=1.0).contains(share));
        if read.is_none() {
            variables.pass_over(name, "is not a number from 0 to 1");
        }
        read.unwrap_or(1.0)
    }

    /// Whether a span of `trace` is exported, whose parent, if it has one, is recorded or not.
    ///
    /// The share is taken as other implementations take theirs, by the last eight bytes of the trace's id, so that all who are
    /// told the same share take the same traces.
    pub fn samples(&self, parent: Option<bool>, trace: u128) -> bool {
        if let (true, Some(recorded)) = (self.with_parent, parent) {
            return recorded;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "from 0 to 2^63; the last digits of so large a number decide nothing"
        )]
        let bound = (self.share * (1_u64 << 63) as f64) as u64;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the last eight bytes are what is asked for"
        )]
        let random = (trace as u64) >> 1;
        random < bound
    }
}
