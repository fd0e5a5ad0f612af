//! How a client connects to a broker and who it says it is, as librdkafka's options.
use rdkafka::ClientConfig;
use runtime::config::{Kafka, Settings};

/// Sets the security of a client.
pub(crate) fn set_security(config: &mut ClientConfig, kafka: &Kafka) {
    for (name, value) in options(kafka) {
        config.set(name, value);
    }
}

/// Sets `kafka.options`. Call it last: they override what Millrace sets for its own reasons.
pub(crate) fn set_options(config: &mut ClientConfig, kafka: &Kafka) {
    for (name, value) in kafka.options.iter() {
        config.set(name, value);
    }
}

/// The security of a client and `kafka.options`, for a client with a configuration of its own.
pub fn security(settings: &Settings) -> Vec<(String, String)> {
    let own = options(&settings.kafka).into_iter();
    let more = settings.kafka.options.iter();
    own.chain(more).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn options(kafka: &Kafka) -> Vec<(&str, &str)> {
    let Kafka { security_protocol: protocol, ssl, sasl, .. } = kafka;
    let mut options = vec![("security.protocol", protocol.as_str())];
    if protocol.has_tls() {
        let ca = match (&*ssl.ca_file, ssl.ca.expose()) {
            // OpenSSL is linked statically and does not know where this system has its CAs.
            ("", "") => ("ssl.ca.location", "probe"),
            ("", text) => ("ssl.ca.pem", text),
            (file, _) => ("ssl.ca.location", file),
        };
        let certificate = match &*ssl.certificate_file {
            "" => ("ssl.certificate.pem", ssl.certificate.expose()),
            file => ("ssl.certificate.location", file),
        };
        let key = match &*ssl.key_file {
            "" => ("ssl.key.pem", ssl.key.expose()),
            file => ("ssl.key.location", file),
        };
        let password = ("ssl.key.password", ssl.key_password.expose());
        options.extend([ca, certificate, key, password].into_iter().filter(|(_, value)| !value.is_empty()));
        let identification = if ssl.verify_hostname { "https" } else { "none" };
        options.push(("ssl.endpoint.identification.algorithm", identification));
    }
    if protocol.has_sasl() {
        options.extend([
            ("sasl.mechanism", sasl.mechanism.as_str()),
            ("sasl.username", &sasl.username),
            ("sasl.password", sasl.password.expose()),
        ]);
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::config::load_from;

    #[test]
    fn options_override_what_millrace_sets_and_security_reaches_every_client() {
        let variables = [
            ("MILLRACE__KAFKA__SECURITY_PROTOCOL", "sasl_plaintext"),
            ("MILLRACE__KAFKA__SASL__MECHANISM", "PLAIN"),
            ("MILLRACE__KAFKA__SASL__USERNAME", "ingest"),
            ("MILLRACE__KAFKA__SASL__PASSWORD", "secret"),
            ("MILLRACE__KAFKA__OPTIONS__LINGER_MS", "7"),
            ("MILLRACE__KAFKA__OPTIONS__SOCKET_KEEPALIVE_ENABLE", "true"),
        ];
        let settings =
            load_from(None, variables.map(|(key, value)| (key.to_owned(), value.to_owned()))).unwrap();
        let producer = crate::client::transactional_producer(&settings, "t");
        assert_eq!(producer.get("linger.ms"), Some("7"));
        assert_eq!(producer.get("sasl.password"), Some("secret"));
        assert_eq!(producer.get("socket.keepalive.enable"), Some("true"));
        let more = security(&settings);
        assert!(more.contains(&("sasl.mechanism".into(), "PLAIN".into())), "{more:?}");
        crate::check_clients(&settings).unwrap();
    }

    #[test]
    fn an_option_that_librdkafka_does_not_know_is_an_error_of_the_configuration() {
        let variable = ("MILLRACE__KAFKA__OPTIONS__SOCKET_KEEPALIVE".to_owned(), "true".to_owned());
        let settings = load_from(None, [variable]).unwrap();
        let error = crate::check_clients(&settings).unwrap_err().to_string();
        assert!(error.starts_with("kafka.options.socket.keepalive does not work"), "{error}");
    }
}
