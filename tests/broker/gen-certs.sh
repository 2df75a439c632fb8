#!/usr/bin/env bash
# Makes a test CA, a broker certificate (localhost, 127.0.0.1) and a client certificate in the folder DIR, all PEM.
# usage: gen-certs.sh DIR
set -euo pipefail

DIR=${1:?usage: gen-certs.sh DIR}
mkdir -p "$DIR"
cd "$DIR"

make_certificate() {
    local name=$1
    # genpkey writes PKCS#8, the only form Kafka reads.
    openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$name.key"
    openssl req -new -key "$name.key" -subj "/CN=$name" -out "$name.csr"
    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' > "$name.ext"
    openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 \
        -extfile "$name.ext" -out "$name.pem"
    cat "$name.key" "$name.pem" ca.pem > "$name.keystore.pem"
    rm "$name.csr" "$name.ext"
}

openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 3650 -subj "/CN=test-ca" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign"
make_certificate broker
make_certificate client
openssl verify -CAfile ca.pem broker.pem client.pem
