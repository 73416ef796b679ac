#!powershell

# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Shows SChannel's policy, and changes it where that is asked for. Each value that changes is told as it was before, with
# its type and the keys that had to be made, so that it can be put back exactly.
#
# Written for Windows PowerShell 5.1 on .NET Framework 4.6.1 or later.

#AnsibleRequires -CSharpUtil Ansible.Basic

$spec = @{
    options = @{
        protocols = @{
            type = "list"
            elements = "dict"
            default = @()
            options = @{
                version = @{
                    type = "str"
                    required = $true
                    choices = @("SSL 2.0", "SSL 3.0", "TLS 1.0", "TLS 1.1", "TLS 1.2", "TLS 1.3")
                }
                side = @{ type = "str"; required = $true; choices = @("client", "server") }
                state = @{ type = "str"; required = $true; choices = @("on", "by_request", "off") }
            }
        }
        suites = @{ type = "list"; elements = "str" }
        restore = @{
            type = "list"
            elements = "dict"
            default = @()
            options = @{
                key = @{ type = "str"; required = $true; no_log = $false }
                name = @{ type = "str"; required = $true }
                kind = @{ type = "str" }
                data = @{ type = "raw" }
                made = @{ type = "str" }
            }
        }
    }
    supports_check_mode = $true
}

$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)
$machine = [Microsoft.Win32.RegistryKey]::OpenBaseKey("LocalMachine", "Registry64")
$schannel = "SYSTEM\CurrentControlSet\Control\SecurityProviders\SCHANNEL"
$policy = "SOFTWARE\Policies\Microsoft\Cryptography\Configuration\SSL\00010002"
$local = "SYSTEM\CurrentControlSet\Control\Cryptography\Configuration\Local\SSL\00010002"

# Read

function Get-RegistryValue {
    # A value with its type; no type where there is none.
    param([string]$Key, [string]$Name)
    $opened = $machine.OpenSubKey($Key)
    if ($null -ne $opened) {
        try {
            $data = $opened.GetValue($Name, $null, "DoNotExpandEnvironmentNames")
            if ($null -ne $data) {
                return @{ kind = [string]$opened.GetValueKind($Name); data = $data }
            }
        }
        finally {
            $opened.Close()
        }
    }
    return @{ kind = $null; data = $null }
}

function Get-ChildName {
    param([string]$Key)
    $opened = $machine.OpenSubKey($Key)
    if ($null -ne $opened) {
        try {
            $opened.GetSubKeyNames()
        }
        finally {
            $opened.Close()
        }
    }
}

function Get-Switch {
    $found = @{}
    foreach ($group in "Ciphers", "KeyExchangeAlgorithms") {
        foreach ($each in @(Get-ChildName -Key "$schannel\$group")) {
            $found[$each] = (Get-RegistryValue -Key "$schannel\$group\$each" -Name "Enabled").data
        }
    }
    return $found
}

function Get-State {
    $protocols = @{}
    foreach ($version in "SSL 2.0", "SSL 3.0", "TLS 1.0", "TLS 1.1", "TLS 1.2", "TLS 1.3") {
        $protocols[$version] = @{}
        foreach ($side in "client", "server") {
            $key = "$schannel\Protocols\$version\$side"
            $protocols[$version][$side] = @{
                enabled = (Get-RegistryValue -Key $key -Name "Enabled").data
                disabled_by_default = (Get-RegistryValue -Key $key -Name "DisabledByDefault").data
            }
        }
    }
    return @{
        build = [System.Environment]::OSVersion.Version.Build
        protocols = $protocols
        switches = (Get-Switch)
        policy_suites = (Get-RegistryValue -Key $policy -Name "Functions").data
        local_suites = (Get-RegistryValue -Key $local -Name "Functions").data
    }
}

# Decide

function Get-Wanted {
    # The values that say what was asked for.
    foreach ($row in $module.Params.protocols) {
        $key = "$schannel\Protocols\$($row.version)\$($row.side)"
        $enabled = 1
        $request = 0
        if ($row.state -eq "off") {
            $enabled = 0
        }
        if ($row.state -ne "on") {
            $request = 1
        }
        @{ key = $key; name = "Enabled"; kind = "DWord"; data = $enabled; made = $null }
        @{ key = $key; name = "DisabledByDefault"; kind = "DWord"; data = $request; made = $null }
    }
    if ($null -ne $module.Params.suites) {
        $text = [string]::Join(",", @($module.Params.suites))
        @{ key = $policy; name = "Functions"; kind = "String"; data = $text; made = $null }
    }
    foreach ($row in $module.Params.restore) {
        $inside = $row.key.StartsWith("$schannel\Protocols\", [System.StringComparison]::OrdinalIgnoreCase)
        if (-not $inside -and $row.key -ne $policy) {
            $module.FailJson("$($row.key) is no key of SChannel's policy; give what an earlier run returned as before")
        }
        $row
    }
}

function Test-Same {
    param([System.Collections.IDictionary]$Found, [System.Collections.IDictionary]$Wanted)
    if ($null -eq $Found.kind -or $null -eq $Wanted.kind) {
        return $null -eq $Found.kind -and $null -eq $Wanted.kind
    }
    # joined, for a value may have several lines
    $same = [string]::Join(",", @($Found.data)).Equals([string]::Join(",", @($Wanted.data)))
    return $Found.kind -eq $Wanted.kind -and $same
}

function Get-Made {
    # The topmost key that has to be made for this one, if any has to.
    param([string]$Key)
    $made = $null
    while ($Key -ne "" -and $null -eq $machine.OpenSubKey($Key)) {
        $made = $Key
        $Key = $Key.Substring(0, $Key.LastIndexOf("\"))
    }
    return $made
}

# Make

function Clear-Key {
    # Takes keys away that we made, from the innermost on, as far as nothing lies in them.
    param([string]$Key, [string]$Made)
    while ($Key.Length -ge $Made.Length) {
        $opened = $machine.OpenSubKey($Key)
        if ($null -ne $opened) {
            $left = $opened.ValueCount + $opened.SubKeyCount
            $opened.Close()
            if ($left -gt 0) {
                return
            }
            $machine.DeleteSubKey($Key)
        }
        $Key = $Key.Substring(0, $Key.LastIndexOf("\"))
    }
}

function Set-RegistryValue {
    param([System.Collections.IDictionary]$Wanted)
    if ($null -eq $Wanted.kind) {
        $opened = $machine.OpenSubKey($Wanted.key, $true)
        $opened.DeleteValue($Wanted.name)
        $opened.Close()
        return
    }
    $data = $Wanted.data
    if ($Wanted.kind -eq "MultiString") {
        $data = [string[]]$data
    }
    $opened = $machine.CreateSubKey($Wanted.key)
    $opened.SetValue($Wanted.name, $data, $Wanted.kind)
    $opened.Close()
}

$module.Result.before = @()
foreach ($wanted in @(Get-Wanted)) {
    $found = Get-RegistryValue -Key $wanted.key -Name $wanted.name
    if (-not (Test-Same -Found $found -Wanted $wanted)) {
        $made = Get-Made -Key $wanted.key
        $row = @{ key = $wanted.key; name = $wanted.name; kind = $found.kind; data = $found.data; made = $made }
        $module.Result.before = @($row) + $module.Result.before
        $module.Result.changed = $true
        if (-not $module.CheckMode) {
            Set-RegistryValue -Wanted $wanted
        }
    }
    if ($wanted.made -and -not $module.CheckMode) {
        Clear-Key -Key $wanted.key -Made $wanted.made
    }
}
$module.Result.state = Get-State
$module.ExitJson()
