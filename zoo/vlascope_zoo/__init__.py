"""The zoo: small trained policies of many architectures, as a plugin of vlascope."""
