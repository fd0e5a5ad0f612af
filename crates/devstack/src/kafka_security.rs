//! Listeners of Kafka with TLS, SASL and ACLs, beside the one without them, whose clients may do everything.

use std::path::PathBuf;

/// How clients of the secure listeners prove who they are. Without an ACL they may do nothing.
#[derive(Debug, Clone)]
pub struct KafkaSecurity {
    /// PEM file with the CAs that sign certificates of clients.
    pub trust_store: PathBuf,
    /// The listeners.
    pub listeners: Vec<SecureListener>,
    /// Names and passwords for SASL.
    pub users: Vec<(String, String)>,
}

/// A listener with TLS on a port of its own.
#[derive(Debug, Clone)]
pub struct SecureListener {
    /// Upper-case letters and underscores.
    pub name: &'static str,
    /// Whether a client proves who it is with SCRAM-SHA-512 or PLAIN, instead of with a certificate. The user of a
    /// certificate is its CN.
    pub has_sasl: bool,
    /// PEM file with the broker's private key and its certificate.
    pub key_store: PathBuf,
}

impl SecureListener {
    pub(crate) fn protocol(&self) -> &'static str {
        if self.has_sasl { "SASL_SSL" } else { "SSL" }
    }
}

impl KafkaSecurity {
    /// Lines of server.properties.
    pub(crate) fn properties(&self) -> String {
        let mut text = format!(
            "\
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
# Clients of the listener without TLS.
super.users=User:ANONYMOUS
ssl.truststore.type=PEM
ssl.truststore.location={}
ssl.principal.mapping.rules=RULE:^CN=([^,]+).*$/$1/
sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
",
            self.trust_store.display()
        );
        let plain: String =
            self.users.iter().map(|(name, password)| format!(" user_{name}=\"{password}\"")).collect();
        for listener in &self.listeners {
            let name = format!("listener.name.{}", listener.name.to_lowercase());
            text += &format!("{name}.ssl.keystore.type=PEM\n");
            text += &format!("{name}.ssl.keystore.location={}\n", listener.key_store.display());
            if listener.has_sasl {
                let module = "org.apache.kafka.common.security";
                text += &format!(
                    "{name}.scram-sha-512.sasl.jaas.config={module}.scram.ScramLoginModule required;\n\
                     {name}.plain.sasl.jaas.config={module}.plain.PlainLoginModule required{plain};\n"
                );
            } else {
                text += &format!("{name}.ssl.client.auth=required\n");
            }
        }
        text
    }
}
