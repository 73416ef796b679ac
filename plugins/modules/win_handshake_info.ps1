#!powershell

# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Looks at endpoints by the TLS of .NET, as the programs of a Windows host do.
#
# Written for Windows PowerShell 5.1 on .NET Framework 4.7.2 or later. What Windows says is in the language of its
# installation, so nothing here goes by the words of an error: types, numbers and the bytes on the wire decide.
# Handshakes are synchronous, for a script block is called on no other thread; a timer of .NET ends them.

#AnsibleRequires -CSharpUtil Ansible.Basic

$spec = @{
    options = @{
        endpoints = @{
            type = "list"
            elements = "dict"
            required = $true
            options = @{
                id = @{ type = "str" }
                address = @{ type = "str"; required = $true }
                port = @{ type = "int"; required = $true }
                name = @{ type = "str" }
                tls = @{ type = "bool"; default = $true }
                protocol = @{
                    type = "str"
                    default = "tls"
                    choices = @("tls", "galera", "ldap", "mysql", "postgresql", "smtp")
                }
                source = @{ type = "str" }
                trust = @{ type = "path" }
                machine_trust = @{ type = "bool"; default = $false }
                thumbprint = @{ type = "str" }
                certificate = @{ type = "path" }
                key = @{ type = "path"; no_log = $false }
                timeout = @{ type = "float"; default = 5.0 }
                patience = @{ type = "float"; default = 0.3 }
                ciphers = @{ type = "str" }
                old_protocols = @{ type = "bool"; default = $false }
                demand = @{ type = "bool"; default = $false }
                user = @{ type = "str"; default = "postgres" }
                database = @{ type = "str"; default = "postgres" }
            }
        }
    }
    supports_check_mode = $true
}

$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)

# As numbers: .NET Framework before 4.8 has no word for TLS 1.3. Windows has it from Server 2022 (build 20348) on.
$tls12 = 3072
$tls13 = 12288
$versions = $tls12
if ([System.Environment]::OSVersion.Version.Build -ge 20348) {
    $versions = $tls12 + $tls13
}
$protocols = @{ "48" = "SSLv3"; "192" = "TLSv1"; "768" = "TLSv1.1"; "3072" = "TLSv1.2"; "12288" = "TLSv1.3" }

# The codes of Windows for a failed connection, and what they mean: outcome, class, the sentence's end.
$meanings = @{
    ConnectionRefused = @("refused", "connection_refused", "refuses the connection")
    ConnectionReset = @("reset", "reset", "resets the connection")
    ConnectionAborted = @("reset", "reset", "resets the connection")
    Shutdown = @("reset", "reset", "resets the connection")
    TimedOut = @("timeout", "no_answer", "does not answer")
    HostUnreachable = @("unreachable", "no_route", "cannot be reached")
    NetworkUnreachable = @("unreachable", "no_route", "cannot be reached")
    HostDown = @("unreachable", "no_route", "cannot be reached")
    AccessDenied = @("unreachable", "not_permitted", "may not be connected to from here")
    HostNotFound = @("unreachable", "name_unresolved", "has a name that is not resolved")
    NoData = @("unreachable", "name_unresolved", "has a name that is not resolved")
    TryAgain = @("unreachable", "name_unresolved", "has a name that is not resolved")
    AddressNotAvailable = @("error", "source_unavailable", "cannot be reached from that source address")
}

# Names of the alerts that end a handshake (RFC 8446, 6.2), by their numbers.
$alerts = @{
    "0" = "close_notify"
    "10" = "unexpected_message"
    "40" = "handshake_failure"
    "47" = "illegal_parameter"
    "50" = "decode_error"
    "70" = "protocol_version"
    "71" = "insufficient_security"
    "80" = "internal_error"
    "109" = "missing_extension"
    "112" = "unrecognized_name"
    "120" = "no_application_protocol"
}

# Values

function Get-Failure {
    # What a look came to that saw no handshake to its end.
    param([string]$Outcome, [string]$Class, [string]$Reason)
    $security = $null
    if ($Outcome -eq "clear") {
        $security = "clear"
    }
    return @{ outcome = $Outcome; verified = $null; security = $security; class = $Class; reason = $Reason }
}

function Get-SocketFailure {
    param([object]$Exception, [string]$Place)
    $known = $meanings[[string]$Exception.SocketErrorCode]
    if ($null -eq $known) {
        return Get-Failure -Outcome "error" -Class "system_error" -Reason "$Place cannot be looked at: $($Exception.Message)"
    }
    return Get-Failure -Outcome $known[0] -Class $known[1] -Reason "$Place $($known[2]): $($Exception.Message)"
}

function Get-Place {
    param([System.Collections.IDictionary]$Probe)
    if ($Probe.address.Contains(":")) {
        return "[$($Probe.address)]:$($Probe.port)"
    }
    return "$($Probe.address):$($Probe.port)"
}

function Get-Refusal {
    # Why a probe cannot be made by .NET, in one sentence.
    param([System.Collections.IDictionary]$Probe)
    $place = Get-Place -Probe $Probe
    if ($Probe.port -lt 1 -or $Probe.port -gt 65535) {
        return "${place}: the port is a number from 1 to 65535"
    }
    if ($Probe.timeout -le 0 -or $Probe.timeout -gt 300) {
        return "${place}: the timeout is more than 0 and at most 300 seconds"
    }
    if ($Probe.protocol -in @("galera", "mysql")) {
        return "${place}: this module does not negotiate TLS as $($Probe.protocol) does; use connsec.tls.handshake_info from another host"
    }
    if ($Probe.certificate -or $Probe.key) {
        return "${place}: Windows presents certificates out of a store; give the thumbprint of one in LocalMachine\My, not files"
    }
    if ($Probe.ciphers) {
        return "${place}: SslStream takes no list of ciphers, for Windows' policy decides on them; leave ciphers out"
    }
    if ($Probe.old_protocols) {
        return "${place}: SslStream offers old versions only where this host's policy does; ask connsec.tls.handshake_info from another host"
    }
    if ($Probe.trust -and $Probe.machine_trust) {
        return "${place}: give trust or machine_trust, not both"
    }
    return $null
}

# Certificates

function Get-Digest {
    param([byte[]]$Data)
    $algorithm = [System.Security.Cryptography.SHA256]::Create()
    try {
        return [System.BitConverter]::ToString($algorithm.ComputeHash($Data)).Replace("-", "").ToLowerInvariant()
    }
    finally {
        $algorithm.Dispose()
    }
}

function Get-Length {
    # The length that stands at a place in DER, and the place behind it.
    param([byte[]]$Data, [int]$At)
    $length = [int]$Data[$At]
    $At = $At + 1
    if ($length -gt 127) {
        $rest = $length - 128
        $length = 0
        while ($rest -gt 0) {
            $length = $length * 256 + $Data[$At]
            $At = $At + 1
            $rest = $rest - 1
        }
    }
    return @{ length = $length; at = $At }
}

function Get-Name {
    # DNS names and IP addresses of subjectAltName: .NET Framework shows them as text in the language of Windows alone.
    param([System.Security.Cryptography.X509Certificates.X509Certificate2]$Certificate)
    foreach ($extension in $Certificate.Extensions) {
        if ($extension.Oid.Value -ne "2.5.29.17") {
            continue
        }
        $data = $extension.RawData
        $field = Get-Length -Data $data -At 1
        $at = $field.at
        $end = $at + $field.length
        while ($at -lt $end) {
            $tag = [int]$data[$at]
            $field = Get-Length -Data $data -At ($at + 1)
            if ($tag -eq 130) {
                [System.Text.Encoding]::ASCII.GetString($data, $field.at, $field.length)
            }
            if ($tag -eq 135) {
                $address = [byte[]]::new($field.length)
                [System.Array]::Copy($data, $field.at, $address, 0, $field.length)
                [System.Net.IPAddress]::new($address).ToString()
            }
            $at = $field.at + $field.length
        }
    }
}

function Get-Address {
    # The IP address that a text is, if it is one.
    param([string]$Text)
    try {
        return [System.Net.IPAddress]::Parse($Text)
    }
    catch [System.FormatException] {
        return $null
    }
}

function Test-Name {
    # As RFC 9525 has it: letters without case, and a wildcard for the whole of the first label alone.
    param([string]$Name, [object[]]$Served)
    $address = Get-Address -Text $Name
    if ($null -ne $address) {
        return $address.ToString() -in $Served
    }
    $wanted = $Name.TrimEnd(".").ToLowerInvariant()
    $dot = $wanted.IndexOf(".")
    foreach ($each in $Served) {
        $name = $each.TrimEnd(".").ToLowerInvariant()
        if ($name.Equals($wanted)) {
            return $true
        }
        if ($dot -gt 0 -and $name.StartsWith("*.") -and $name.Substring(1).Equals($wanted.Substring($dot))) {
            return $true
        }
    }
    return $false
}

function Get-Time {
    param([System.DateTime]$Time)
    return [System.DateTimeOffset]::new($Time).ToUnixTimeSeconds()
}

function Get-Serial {
    param([System.Security.Cryptography.X509Certificates.X509Certificate2]$Certificate)
    $serial = $Certificate.SerialNumber.ToLowerInvariant().TrimStart("0")
    if ($serial -eq "") {
        return "0"
    }
    return $serial
}

function Get-Link {
    param([System.Security.Cryptography.X509Certificates.X509Certificate2]$Certificate)
    return @{
        subject = $Certificate.GetNameInfo("SimpleName", $false)
        issuer = $Certificate.GetNameInfo("SimpleName", $true)
        not_after = (Get-Time -Time $Certificate.NotAfter)
        serial = (Get-Serial -Certificate $Certificate)
        sha256 = (Get-Digest -Data $Certificate.RawData)
    }
}

function Get-Sequence {
    # The certificates as they lead on from the leaf: Windows hands them out in an order of its own.
    param([System.Security.Cryptography.X509Certificates.X509Certificate2]$Leaf, [object[]]$Others)
    $rest = @(foreach ($each in $Others) {
            if (-not $each.Equals($Leaf)) {
                $each
            }
        })
    $Leaf
    $last = $Leaf
    while ($rest.Count -gt 0) {
        $next = $null
        foreach ($each in $rest) {
            if ($null -eq $next -and $each.Subject.Equals($last.Issuer)) {
                $next = $each
            }
        }
        if ($null -eq $next) {
            $next = $rest[0]
        }
        $next
        $last = $next
        $rest = @(foreach ($each in $rest) {
                if (-not $each.Equals($next)) {
                    $each
                }
            })
    }
}

function Read-Trust {
    # .NET Framework reads one certificate of a PEM file; a CA list has many.
    param([string]$Path)
    $pattern = "-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END"
    foreach ($match in [System.Text.RegularExpressions.Regex]::Matches([System.IO.File]::ReadAllText($Path), $pattern)) {
        [System.Security.Cryptography.X509Certificates.X509Certificate2]::new([System.Convert]::FromBase64String($match.Groups[1].Value))
    }
}

function Read-Root {
    $store = [System.Security.Cryptography.X509Certificates.X509Store]::new("Root", "LocalMachine")
    $store.Open("ReadOnly")
    try {
        $store.Certificates
    }
    finally {
        $store.Close()
    }
}

function Find-Identity {
    param([string]$Thumbprint)
    $store = [System.Security.Cryptography.X509Certificates.X509Store]::new("My", "LocalMachine")
    $store.Open("ReadOnly")
    try {
        foreach ($certificate in $store.Certificates) {
            if ($certificate.Thumbprint -eq $Thumbprint -and $certificate.HasPrivateKey) {
                return $certificate
            }
        }
    }
    finally {
        $store.Close()
    }
    return $null
}

function Test-Root {
    # Whether a chain came to one of the given certificates.
    param([System.Security.Cryptography.X509Certificates.X509Chain]$Chain, [object[]]$Trust)
    $last = Get-Digest -Data $Chain.ChainElements[$Chain.ChainElements.Count - 1].Certificate.RawData
    foreach ($each in $Trust) {
        if ((Get-Digest -Data $each.RawData) -eq $last) {
            return $true
        }
    }
    return $false
}

function Get-StatusClass {
    # What the states of a chain mean that came to a root that we know; an empty text where nothing is wrong.
    param([string[]]$Found, [System.Security.Cryptography.X509Certificates.X509Chain]$Chain)
    if ("NotSignatureValid" -in $Found) {
        return "not_accepted"
    }
    if ("Revoked" -in $Found) {
        return "revoked"
    }
    if ("NotTimeValid" -in $Found) {
        foreach ($element in $Chain.ChainElements) {
            if ((Get-Time -Time $element.Certificate.NotBefore) -gt [System.DateTimeOffset]::UtcNow.ToUnixTimeSeconds()) {
                return "not_yet_valid"
            }
        }
        return "expired"
    }
    if ("NotValidForUsage" -in $Found) {
        return "wrong_usage"
    }
    if ("InvalidBasicConstraints" -in $Found) {
        return "not_an_authority"
    }
    foreach ($each in $Found) {
        # that the machine does not know a root is what it was asked to pass over; NoError is said where nothing is
        if ($each -notin @("NoError", "UntrustedRoot")) {
            return "not_accepted"
        }
    }
    return ""
}

function Get-Verdict {
    # Which class of fault a chain has, an empty text for none. .NET Framework knows no roots but the machine's, so it is
    # asked to pass over those that it does not know, and we look which root the chain came to.
    param([System.Security.Cryptography.X509Certificates.X509Certificate2]$Leaf, [object[]]$Served, [object[]]$Trust)
    $chain = [System.Security.Cryptography.X509Certificates.X509Chain]::new()
    try {
        $policy = $chain.ChainPolicy
        $policy.RevocationMode = "NoCheck"
        $policy.VerificationFlags = "AllowUnknownCertificateAuthority"
        $policy.UrlRetrievalTimeout = [System.TimeSpan]::FromSeconds(1)
        [void]$policy.ApplicationPolicy.Add([System.Security.Cryptography.Oid]::new("1.3.6.1.5.5.7.3.1"))
        foreach ($each in $Served) {
            [void]$policy.ExtraStore.Add($each)
        }
        foreach ($each in $Trust) {
            [void]$policy.ExtraStore.Add($each)
        }
        [void]$chain.Build($Leaf)
        $found = @(foreach ($status in $chain.ChainStatus) {
                [string]$status.Status
            })
        if ("PartialChain" -in $found -or -not (Test-Root -Chain $chain -Trust $Trust)) {
            return "unknown_authority"
        }
        return Get-StatusClass -Found $found -Chain $chain
    }
    finally {
        $chain.Dispose()
    }
}

# Connections

function Get-Left {
    # Milliseconds until a look ends; never none, so that what waits for nothing is still asked once.
    param([System.Collections.IDictionary]$Look)
    $left = [int]($Look.probe.timeout * 1000) - [int]$Look.watch.ElapsedMilliseconds
    if ($left -lt 1) {
        return 1
    }
    return $left
}

function Test-Late {
    param([System.Collections.IDictionary]$Look)
    # timers of Windows have steps of 16 milliseconds
    return $Look.watch.ElapsedMilliseconds -ge $Look.probe.timeout * 1000 - 20
}

function Resolve-Address {
    param([System.Collections.IDictionary]$Look)
    $address = Get-Address -Text $Look.probe.address
    if ($null -ne $address) {
        return $address
    }
    $asked = [System.Net.Dns]::GetHostAddressesAsync($Look.probe.address)
    if ($asked.Wait((Get-Left -Look $Look))) {
        $asked.Result
    }
}

function Connect-One {
    # Returns a client, or none where nobody accepted in time. Whatever it waits for ends with the look.
    param([System.Collections.IDictionary]$Look, [System.Net.IPAddress]$Address)
    if ($Look.probe.source) {
        $local = [System.Net.IPEndPoint]::new([System.Net.IPAddress]::Parse($Look.probe.source), 0)
        $client = [System.Net.Sockets.TcpClient]::new($local)
    }
    else {
        $client = [System.Net.Sockets.TcpClient]::new($Address.AddressFamily)
    }
    try {
        $pending = $client.ConnectAsync($Address, $Look.probe.port)
        if (-not $pending.Wait((Get-Left -Look $Look))) {
            $client.Close()
            return $null
        }
    }
    catch {
        $client.Close()
        throw
    }
    $timer = [System.Threading.CancellationTokenSource]::new([int](Get-Left -Look $Look))
    $kind = [System.Action]
    [void]$timer.Token.Register([System.Delegate]::CreateDelegate($kind, $client, "Close"))
    $Look.address = $client.Client.RemoteEndPoint.Address.ToString()
    $Look.ports = @($Look.ports) + $client.Client.LocalEndPoint.Port
    return $client
}

function Connect-Endpoint {
    param([System.Collections.IDictionary]$Look)
    $failure = Get-Failure -Outcome "timeout" -Class "no_answer" -Reason "$($Look.place) does not answer in time"
    try {
        $addresses = @(Resolve-Address -Look $Look)
    }
    catch {
        return @{ client = $null; failure = (Get-Fault -Look $Look -Exception ($_.Exception.GetBaseException())) }
    }
    if ($addresses.Count -eq 0) {
        $says = "the name of $($Look.place) is not resolved in time"
        $failure = Get-Failure -Outcome "timeout" -Class "name_unresolved" -Reason $says
    }
    foreach ($address in $addresses) {
        try {
            $client = Connect-One -Look $Look -Address $address
            if ($null -ne $client) {
                return @{ client = $client; failure = $null }
            }
        }
        catch {
            $failure = Get-Fault -Look $Look -Exception ($_.Exception.GetBaseException())
        }
    }
    return @{ client = $null; failure = $failure }
}

function Get-Fault {
    # What an exception means for a look; one that its deadline ended is no fault of the other end.
    param([System.Collections.IDictionary]$Look, [object]$Exception)
    if (Test-Late -Look $Look) {
        return Get-Failure -Outcome "timeout" -Class "no_answer" -Reason "$($Look.place) does not answer in time"
    }
    if ($Exception -is [System.Net.Sockets.SocketException]) {
        return Get-SocketFailure -Exception $Exception -Place $Look.place
    }
    return Get-Failure -Outcome "error" -Class "system_error" -Reason "$($Look.place) cannot be looked at: $($Exception.Message)"
}

function Read-Bytes {
    # As many bytes as were asked for, or what came before the other end closed.
    param([System.Net.Sockets.NetworkStream]$Stream, [int]$Count)
    $data = [byte[]]::new($Count)
    $at = 0
    while ($at -lt $Count) {
        $read = $Stream.Read($data, $at, $Count - $at)
        if ($read -eq 0) {
            return @{ data = $data; size = $at }
        }
        $at = $at + $read
    }
    return @{ data = $data; size = $at }
}

# Negotiation on a port that has both

function Get-NotOffered {
    param([System.Collections.IDictionary]$Look, [string]$Why)
    $says = "$($Look.place) answers, but does not offer TLS: $Why"
    return Get-Failure -Outcome "clear" -Class "tls_not_offered" -Reason $says
}

function Get-Closed {
    param([System.Collections.IDictionary]$Look)
    $says = "$($Look.place) closes the connection without an answer"
    return Get-Failure -Outcome "closed" -Class "closed_at_once" -Reason $says
}

function Request-Postgresql {
    param([System.Collections.IDictionary]$Look, [System.Net.Sockets.NetworkStream]$Stream)
    $Stream.Write([System.Convert]::FromBase64String("AAAACATSFi8="), 0, 8)
    $answer = Read-Bytes -Stream $Stream -Count 1
    if ($answer.size -eq 0) {
        return Get-Closed -Look $Look
    }
    if ($answer.data[0] -eq 78) {
        return Get-NotOffered -Look $Look -Why "its ssl is off"
    }
    if ($answer.data[0] -ne 83) {
        return Get-NotOffered -Look $Look -Why "it does not answer as PostgreSQL does"
    }
    return $null
}

function Request-Ldap {
    # StartTLS (RFC 4511, 4.14); its answer has a result, the first ENUMERATED in it.
    param([System.Collections.IDictionary]$Look, [System.Net.Sockets.NetworkStream]$Stream)
    $Stream.Write([System.Convert]::FromBase64String("MB0CAQF3GIAWMS4zLjYuMS40LjEuMTQ2Ni4yMDAzNw=="), 0, 31)
    $head = Read-Bytes -Stream $Stream -Count 2
    if ($head.size -lt 2) {
        return Get-Closed -Look $Look
    }
    $size = [int]$head.data[1]
    if ($size -gt 127) {
        $more = Read-Bytes -Stream $Stream -Count ($size - 128)
        $size = 0
        foreach ($each in $more.data) {
            $size = $size * 256 + $each
        }
    }
    if ($head.data[0] -ne 48 -or $size -gt 65536) {
        return Get-NotOffered -Look $Look -Why "it does not answer as LDAP does"
    }
    $body = Read-Bytes -Stream $Stream -Count $size
    $at = 0
    while ($at + 2 -lt $body.size) {
        if ($body.data[$at] -eq 10 -and $body.data[$at + 1] -eq 1) {
            if ($body.data[$at + 2] -eq 0) {
                return $null
            }
            return Get-NotOffered -Look $Look -Why "it answers StartTLS with result $([int]$body.data[$at + 2])"
        }
        $at = $at + 1
    }
    return Get-NotOffered -Look $Look -Why "it does not answer as LDAP does"
}

function Read-Answer {
    # An answer of SMTP: lines, of which all but the last have a hyphen behind the number. Empty where the end came first.
    param([System.Net.Sockets.NetworkStream]$Stream)
    $lines = ""
    $line = ""
    while ($lines.Length -lt 65536) {
        $read = Read-Bytes -Stream $Stream -Count 1
        if ($read.size -eq 0) {
            return ""
        }
        $line = $line + [System.Text.Encoding]::ASCII.GetString($read.data, 0, 1)
        if ($read.data[0] -eq 10) {
            $lines = $lines + $line
            if ($line.Length -lt 4 -or $line.Substring(3, 1) -ne "-") {
                return $lines
            }
            $line = ""
        }
    }
    return ""
}

function Write-Line {
    param([System.Net.Sockets.NetworkStream]$Stream, [string]$Line)
    $data = [System.Text.Encoding]::ASCII.GetBytes($Line + "`r`n")
    $Stream.Write($data, 0, $data.Length)
}

function Request-Smtp {
    param([System.Collections.IDictionary]$Look, [System.Net.Sockets.NetworkStream]$Stream)
    $greeting = Read-Answer -Stream $Stream
    if ($greeting -eq "") {
        return Get-Closed -Look $Look
    }
    Write-Line -Stream $Stream -Line "EHLO localhost"
    $offers = Read-Answer -Stream $Stream
    if (-not $offers.ToUpperInvariant().Contains("STARTTLS")) {
        return Get-NotOffered -Look $Look -Why "STARTTLS is not among what it can do"
    }
    Write-Line -Stream $Stream -Line "STARTTLS"
    $answer = Read-Answer -Stream $Stream
    if (-not $answer.StartsWith("220")) {
        return Get-NotOffered -Look $Look -Why $answer.Trim()
    }
    return $null
}

function Request-Tls {
    # Asks for TLS where the protocol begins in the clear. Returns why there is none, if so.
    param([System.Collections.IDictionary]$Look, [System.Net.Sockets.NetworkStream]$Stream)
    switch ($Look.probe.protocol) {
        "postgresql" { return Request-Postgresql -Look $Look -Stream $Stream }
        "ldap" { return Request-Ldap -Look $Look -Stream $Stream }
        "smtp" { return Request-Smtp -Look $Look -Stream $Stream }
    }
    return $null
}

# Handshakes

function Wait-Refusal {
    # Over TLS 1.3 a server refuses a client's certificate behind the handshake. Returns whether this one does.
    param([System.Net.Security.SslStream]$Secure)
    $Secure.ReadTimeout = 300
    try {
        return $Secure.Read([byte[]]::new(1), 0, 1) -eq 0
    }
    catch {
        $base = $_.Exception.GetBaseException()
        $silent = $base -is [System.Net.Sockets.SocketException] -and [string]$base.SocketErrorCode -in @("TimedOut", "WouldBlock")
        return -not $silent
    }
}

function Read-Session {
    param([System.Net.Security.SslStream]$Secure, [System.Collections.IDictionary]$Entry)
    $Entry.protocol = $protocols[[string][int]$Secure.SslProtocol]
    $Entry.cipher = [string]$Secure.CipherAlgorithm
    $hash = [string]$Secure.HashAlgorithm
    if ($hash -ne "None") {
        $Entry.cipher = "$($Entry.cipher) $hash"
    }
    if ($Entry.requested -and $Entry.protocol -eq "TLSv1.3") {
        $Entry.turned_away = Wait-Refusal -Secure $Secure
    }
}

function New-Entry {
    # What a handshake shows, before it has shown anything.
    return @{
        failure = $null
        error = $null
        leaf = $null
        served = @()
        requested = $false
        turned_away = $false
        protocol = $null
        cipher = $null
    }
}

function Enter-Endpoint {
    # One handshake, whose certificate is accepted whatever it is: it is judged afterwards.
    param([System.Collections.IDictionary]$Look, [object]$Identity, [int]$Versions)
    $entry = New-Entry
    $dialled = Connect-Endpoint -Look $Look
    if ($null -ne $dialled.failure) {
        $entry.failure = $dialled.failure
        return $entry
    }
    $judge = [System.Net.Security.RemoteCertificateValidationCallback]{
        param($origin, $presented, $chain, $problems)
        if ($null -eq $presented) {
            return $false
        }
        $entry.leaf = [System.Security.Cryptography.X509Certificates.X509Certificate2]::new($presented)
        $entry.served = @(foreach ($each in $chain.ChainPolicy.ExtraStore) {
                $each
            })
        return $true
    }
    # It is called once before the handshake, and once more with the server's certificate where that asks for ours.
    $choose = [System.Net.Security.LocalCertificateSelectionCallback]{
        param($origin, $target, $ours, $theirs, $issuers)
        if ($null -eq $theirs) {
            return $null
        }
        $entry.requested = $true
        return $Identity
    }
    try {
        $stream = $dialled.client.GetStream()
        $entry.failure = Request-Tls -Look $Look -Stream $stream
        if ($null -eq $entry.failure) {
            $secure = [System.Net.Security.SslStream]::new($stream, $false, $judge, $choose)
            $secure.AuthenticateAsClient($Look.name, $null, [System.Security.Authentication.SslProtocols]$Versions, $false)
            Read-Session -Secure $secure -Entry $entry
        }
    }
    catch {
        $entry.error = $_.Exception.GetBaseException()
    }
    finally {
        $dialled.client.Close()
    }
    return $entry
}

function Get-Hello {
    # A ClientHello of TLS 1.2, whose answer shows by its first byte what SslStream's exceptions show by words alone.
    $hello = "FgMBAHkBAAB1AwM="
    $rest = "AAAiwCvAL8AswDDACsAJwBTAEwA5ADMAnAA1AC/ACMASAAoA/wEAACoACgAKAAgAHQAXABgAGQALAAIBAAANABIAEAQDBQMIBAgFBAEFAQIDAgE="
    $random = [byte[]]::new(32)
    $source = [System.Security.Cryptography.RandomNumberGenerator]::Create()
    $source.GetBytes($random)
    $source.Dispose()
    $data = [System.IO.MemoryStream]::new()
    $first = [System.Convert]::FromBase64String($hello)
    $last = [System.Convert]::FromBase64String($rest)
    $data.Write($first, 0, $first.Length)
    $data.Write($random, 0, 32)
    $data.Write($last, 0, $last.Length)
    return $data
}

function Send-Hello {
    # What answers a ClientHello: tls, alert with its number, other, closed or silent.
    param([System.Collections.IDictionary]$Look, [int]$Patience)
    $dialled = Connect-Endpoint -Look $Look
    if ($null -ne $dialled.failure) {
        return @{ kind = "none"; alert = "" }
    }
    try {
        $stream = $dialled.client.GetStream()
        if ($null -ne (Request-Tls -Look $Look -Stream $stream)) {
            return @{ kind = "none"; alert = "" }
        }
        $stream.ReadTimeout = $Patience
        $hello = (Get-Hello).ToArray()
        $stream.Write($hello, 0, $hello.Length)
        $answer = Read-Bytes -Stream $stream -Count 7
        if ($answer.size -eq 0) {
            return @{ kind = "closed"; alert = "" }
        }
        if ($answer.size -lt 7 -or $answer.data[1] -ne 3 -or $answer.data[0] -notin @(21, 22)) {
            return @{ kind = "other"; alert = "" }
        }
        if ($answer.data[0] -eq 21) {
            return @{ kind = "alert"; alert = $alerts[[string][int]$answer.data[6]] }
        }
        return @{ kind = "tls"; alert = "" }
    }
    catch {
        return @{ kind = "silent"; alert = "" }
    }
    finally {
        $dialled.client.Close()
    }
}

function Get-HandshakeFailure {
    # What it means that a handshake failed.
    param([System.Collections.IDictionary]$Look, [System.Collections.IDictionary]$Entry, [bool]$Presents)
    $place = $Look.place
    if (Test-Late -Look $Look) {
        $says = "$place accepts the connection and does not answer a handshake"
        return Get-Failure -Outcome "timeout" -Class "no_answer" -Reason $says
    }
    if ($Entry.requested -and -not $Presents) {
        return Get-Failure -Outcome "alert" -Class "certificate_required" -Reason "$place demands a client certificate"
    }
    if ($Entry.requested) {
        return Get-Failure -Outcome "alert" -Class "certificate_refused" -Reason "$place refuses our certificate"
    }
    if ($Entry.error -is [System.Net.Sockets.SocketException]) {
        return Get-SocketFailure -Exception $Entry.error -Place $place
    }
    $answer = Send-Hello -Look $Look -Patience 1000
    switch ($answer.kind) {
        "other" { return Get-Failure -Outcome "clear" -Class "not_tls" -Reason "$place does not speak TLS" }
        "closed" {
            $says = "$place closes the connection during the handshake"
            return Get-Failure -Outcome "closed" -Class "closed_in_handshake" -Reason $says
        }
        "alert" { return Get-AlertFailure -Place $place -Alert $answer.alert }
    }
    $says = "the handshake with $place fails: $($Entry.error.Message)"
    return Get-Failure -Outcome "error" -Class "handshake_failed" -Reason $says
}

function Get-AlertFailure {
    param([string]$Place, [string]$Alert)
    $class = $Alert
    $says = "ends the handshake"
    if ($Alert -eq "protocol_version") {
        $class = "old_protocol"
        $says = "accepts none of the versions that this host speaks"
    }
    if ($Alert -eq "handshake_failure") {
        $class = "nothing_shared"
        $says = "shares no cipher, group or signature with us"
    }
    $failure = Get-Failure -Outcome "alert" -Class $class -Reason "$Place $says (alert $Alert)"
    $failure.alert = $Alert
    return $failure
}

# Looks

function Add-Description {
    # What a handshake showed of the server, as far as it got.
    param([System.Collections.IDictionary]$Seen, [System.Collections.IDictionary]$Entry)
    $Seen.protocol = $Entry.protocol
    $Seen.cipher = $Entry.cipher
    $Seen.requested = $Entry.requested
    if ($null -eq $Entry.leaf) {
        $Seen.chain = "unknown"
        return
    }
    $Seen.chain = @(foreach ($each in (Get-Sequence -Leaf $Entry.leaf -Others $Entry.served)) {
            Get-Link -Certificate $each
        })
    $leaf = Get-Link -Certificate $Entry.leaf
    $Seen.names = @(Get-Name -Certificate $Entry.leaf)
    $Seen.not_before = Get-Time -Time $Entry.leaf.NotBefore
    foreach ($key in "not_after", "serial", "sha256", "issuer", "subject") {
        $Seen[$key] = $leaf[$key]
    }
}

function Get-VerifyReason {
    param([System.Collections.IDictionary]$Look, [System.Collections.IDictionary]$Seen, [string]$Class)
    $place = $Look.place
    $served = "no name at all"
    if ($Seen.names.Count -gt 0) {
        $served = [string]::Join(", ", $Seen.names)
    }
    $trust = $Look.probe.trust
    if (-not $trust) {
        $trust = "the roots of the machine"
    }
    switch ($Class) {
        "unknown_authority" { return "$place presents a certificate of '$($Seen.issuer)', to which $trust does not lead" }
        "name_mismatch" { return "$place presents a certificate for $served, not for $($Look.name)" }
        "expired" { return "$place presents a chain that expired: its certificate is valid until second $($Seen.not_after)" }
        "not_yet_valid" { return "$place presents a chain that is not valid yet: its certificate is from second $($Seen.not_before)" }
    }
    return "$place presents a certificate that is not accepted: $Class"
}

function Add-Verdict {
    # Whether what was served is accepted, and how well the connection is secured with that.
    param([System.Collections.IDictionary]$Look, [System.Collections.IDictionary]$Seen, [System.Collections.IDictionary]$Entry)
    $Seen.outcome = "tls"
    $Seen.security = "tls_unverified"
    if ($null -eq $Look.trust) {
        if ($Look.flaw) {
            if ($Look.probe.trust -or $Look.probe.machine_trust) {
                $Seen.verified = $false
            }
            $Seen.class = $Look.flaw.class
            $Seen.reason = $Look.flaw.reason
            return
        }
        $Seen.reason = "$($Look.place) speaks $($Entry.protocol); nothing was verified"
        return
    }
    $class = Get-Verdict -Leaf $Entry.leaf -Served $Entry.served -Trust $Look.trust
    if ($class -eq "" -and -not (Test-Name -Name $Look.name -Served $Seen.names)) {
        $class = "name_mismatch"
    }
    $Seen.verified = $class -eq ""
    if ($class -ne "") {
        $Seen.class = $class
        $Seen.reason = Get-VerifyReason -Look $Look -Seen $Seen -Class $class
        return
    }
    $Seen.security = "verified"
    $both = ""
    if ($Entry.requested -and $null -ne $Look.identity) {
        $Seen.security = "mutual"
        $both = ", and accepted our certificate"
    }
    $Seen.reason = "$($Look.place) is verified as $($Look.name) over $($Entry.protocol)$both"
    if ($Look.flaw) {
        $Seen.class = $Look.flaw.class
        $Seen.reason = $Look.flaw.reason
    }
}

function Find-Tls {
    param([System.Collections.IDictionary]$Look, [System.Collections.IDictionary]$Seen)
    $entry = Enter-Endpoint -Look $Look -Identity $Look.identity -Versions $versions
    $failure = $entry.failure
    if ($null -eq $failure) {
        Add-Description -Seen $Seen -Entry $entry
        if ($null -ne $entry.error -or $entry.turned_away) {
            $failure = Get-HandshakeFailure -Look $Look -Entry $entry -Presents ($null -ne $Look.identity)
        }
    }
    if ($null -eq $failure) {
        Add-Verdict -Look $Look -Seen $Seen -Entry $entry
        return
    }
    foreach ($key in $failure.Keys) {
        $Seen[$key] = $failure[$key]
    }
}

function Find-Demand {
    # Whether a client without a certificate is refused: asked over TLS 1.2, where that ends the handshake.
    param([System.Collections.IDictionary]$Look, [System.Collections.IDictionary]$Seen)
    if ($Seen.class -eq "certificate_required") {
        return $true
    }
    if ($Seen.outcome -ne "tls" -and $Seen.class -ne "certificate_refused") {
        return "unknown"
    }
    if (-not $Seen.requested -or ($null -eq $Look.identity -and $Seen.outcome -eq "tls")) {
        return $false
    }
    foreach ($version in @($tls12, $versions)) {
        $entry = Enter-Endpoint -Look $Look -Identity $null -Versions $version
        if ($entry.turned_away) {
            return $true
        }
        if ($null -eq $entry.failure -and $null -eq $entry.error) {
            return $false
        }
        if ($entry.requested -and -not (Test-Late -Look $Look)) {
            return $true
        }
    }
    return "unknown"
}

function Read-Patiently {
    # What comes within some milliseconds: bytes, closed or silent.
    param([System.Net.Sockets.NetworkStream]$Stream, [int]$Patience)
    $Stream.ReadTimeout = $Patience
    $data = [byte[]]::new(64)
    try {
        $read = $Stream.Read($data, 0, 64)
        if ($read -eq 0) {
            return @{ kind = "closed"; first = 0 }
        }
        return @{ kind = "bytes"; first = [int]$data[0] }
    }
    catch {
        $base = $_.Exception.GetBaseException()
        if ($base -is [System.Net.Sockets.SocketException] -and [string]$base.SocketErrorCode -in @("TimedOut", "WouldBlock")) {
            return @{ kind = "silent"; first = 0 }
        }
        return @{ kind = "closed"; first = 0 }
    }
}

function Find-Silence {
    # What a listener is that a few empty lines were said to: one that answers, or stays open, is clear.
    param([System.Collections.IDictionary]$Look, [System.Net.Sockets.NetworkStream]$Stream)
    $place = $Look.place
    $patience = [int]($Look.probe.patience * 1000)
    $before = Read-Patiently -Stream $Stream -Patience 20
    if ($before.kind -eq "closed") {
        return Get-Failure -Outcome "closed" -Class "closed_at_once" -Reason "$place closes the connection at once"
    }
    if ($before.kind -eq "silent") {
        Write-Line -Stream $Stream -Line "`r`n`r`n"
        $before = Read-Patiently -Stream $Stream -Patience $patience
    }
    if ($before.kind -eq "bytes" -and $before.first -notin @(21, 22)) {
        return Get-Failure -Outcome "clear" -Class $null -Reason "$place answers in the clear"
    }
    $hello = (Send-Hello -Look $Look -Patience 1000).kind
    if ($before.kind -eq "bytes" -or ($before.kind -eq "closed" -and $hello -in @("tls", "alert"))) {
        return Get-Failure -Outcome "closed" -Class "tls_only" -Reason "$place refuses plaintext: it speaks TLS only"
    }
    $says = "stays open in the clear"
    if ($before.kind -eq "closed") {
        $says = "speaks no TLS, and closes on an empty line"
    }
    elseif ($hello -in @("tls", "alert")) {
        $says = "stays open in the clear, and speaks TLS too"
    }
    return Get-Failure -Outcome "clear" -Class $null -Reason "$place $says"
}

function Find-Clear {
    param([System.Collections.IDictionary]$Look, [System.Collections.IDictionary]$Seen)
    $dialled = Connect-Endpoint -Look $Look
    $found = $dialled.failure
    if ($null -eq $found) {
        try {
            $found = Find-Silence -Look $Look -Stream ($dialled.client.GetStream())
        }
        catch {
            $found = Get-Fault -Look $Look -Exception ($_.Exception.GetBaseException())
        }
        finally {
            $dialled.client.Close()
        }
    }
    foreach ($key in $found.Keys) {
        $Seen[$key] = $found[$key]
    }
    if ($Seen.class -eq "") {
        $Seen.class = $null
    }
}

function Add-Means {
    # Trust and identity of a look. What cannot be used is a flaw of this host, not of the endpoint.
    param([System.Collections.IDictionary]$Look)
    $probe = $Look.probe
    if ($probe.thumbprint) {
        $Look.identity = Find-Identity -Thumbprint ($probe.thumbprint.Replace(" ", ""))
        if ($null -eq $Look.identity) {
            $says = "there is no certificate $($probe.thumbprint) with a private key in LocalMachine\My"
            $Look.flaw = @{ class = "identity_unreadable"; reason = $says }
        }
    }
    try {
        if ($probe.trust) {
            $found = @(Read-Trust -Path $probe.trust)
            if ($found.Count -eq 0) {
                throw "it has no certificate"
            }
            $Look.trust = $found
        }
        if ($probe.machine_trust) {
            $Look.trust = @(Read-Root)
        }
    }
    catch {
        $says = "the CA list $($probe.trust) cannot be used: $($_.Exception.GetBaseException().Message)"
        $Look.flaw = @{ class = "trust_unreadable"; reason = $says }
    }
}

function Get-Look {
    param([System.Collections.IDictionary]$Probe)
    $look = @{
        probe = $Probe
        place = (Get-Place -Probe $Probe)
        name = $Probe.name
        watch = [System.Diagnostics.Stopwatch]::StartNew()
        ports = @()
        address = $null
        trust = $null
        identity = $null
        flaw = $null
    }
    if (-not $look.name) {
        $look.name = $Probe.address
    }
    $seen = @{ outcome = "error"; verified = $null; security = $null; class = $null; reason = "" }
    $total = [System.Diagnostics.Stopwatch]::StartNew()
    if ($Probe.tls) {
        Add-Means -Look $look
        Find-Tls -Look $look -Seen $seen
        $look.watch = [System.Diagnostics.Stopwatch]::StartNew()
        if ($Probe.demand) {
            $seen.demanded = Find-Demand -Look $look -Seen $seen
        }
    }
    else {
        Find-Clear -Look $look -Seen $seen
    }
    $seen.address = $look.address
    $seen.source_ports = @($look.ports)
    $seen.source_port = $null
    if ($look.ports.Count -gt 0) {
        $seen.source_port = $look.ports[0]
    }
    $seen.seconds = $total.ElapsedMilliseconds / 1000
    return $seen
}

foreach ($probe in $module.Params.endpoints) {
    $refusal = Get-Refusal -Probe $probe
    if ($refusal) {
        $module.FailJson($refusal)
    }
}
$module.Result.endpoints = @{}
foreach ($probe in $module.Params.endpoints) {
    $id = $probe.id
    if (-not $id) {
        $id = "$($probe.address):$($probe.port)"
    }
    $module.Result.endpoints[$id] = Get-Look -Probe $probe
}
$module.ExitJson()
