#!powershell

# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Shows the TLS settings of SQL Server's instances, and sets those that are asked for. They lie in the registry, where
# SQL Server reads them when it starts; nothing is restarted here.
#
# Written for Windows PowerShell 5.1 on .NET Framework 4.6.1 or later.

#AnsibleRequires -CSharpUtil Ansible.Basic

$spec = @{
    options = @{
        instances = @{
            type = "list"
            elements = "dict"
            default = @()
            options = @{
                name = @{ type = "str"; required = $true }
                thumbprint = @{ type = "str" }
                force_encryption = @{ type = "bool" }
                absent = @{
                    type = "list"
                    elements = "str"
                    default = @()
                    choices = @("force_encryption", "thumbprint")
                }
            }
        }
    }
    supports_check_mode = $true
}

$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)
$machine = [Microsoft.Win32.RegistryKey]::OpenBaseKey("LocalMachine", "Registry64")
$base = "SOFTWARE\Microsoft\Microsoft SQL Server"

# Read

function Get-RegistryValue {
    param([string]$Key, [string]$Name)
    $opened = $machine.OpenSubKey($Key)
    if ($null -ne $opened) {
        try {
            return $opened.GetValue($Name, $null, "DoNotExpandEnvironmentNames")
        }
        finally {
            $opened.Close()
        }
    }
    return $null
}

function Get-Identifier {
    # The instances by their names, with the identifier below which each has its settings.
    $found = @{}
    $opened = $machine.OpenSubKey("$base\Instance Names\SQL")
    if ($null -ne $opened) {
        try {
            foreach ($name in $opened.GetValueNames()) {
                $found[$name] = $opened.GetValue($name, $null, "DoNotExpandEnvironmentNames")
            }
        }
        finally {
            $opened.Close()
        }
    }
    return $found
}

function Get-ServiceName {
    param([string]$Name)
    if ($Name -eq "MSSQLSERVER") {
        return "MSSQLSERVER"
    }
    return "MSSQL`$$Name"
}

function Get-Instance {
    param([string]$Name, [string]$Id)
    $key = "$base\$Id\MSSQLServer\SuperSocketNetLib"
    $service = Get-ServiceName -Name $Name
    return @{
        id = $Id
        thumbprint = (Get-RegistryValue -Key $key -Name "Certificate")
        force_encryption = (Get-RegistryValue -Key $key -Name "ForceEncryption")
        cluster = (Get-RegistryValue -Key "$base\$Id\Cluster" -Name "ClusterName")
        service = $service
        account = (Get-RegistryValue -Key "SYSTEM\CurrentControlSet\Services\$service" -Name "ObjectName")
    }
}

function Assert-Certificate {
    param([string]$Thumbprint)
    $store = [System.Security.Cryptography.X509Certificates.X509Store]::new("My", "LocalMachine")
    $store.Open("ReadOnly")
    try {
        foreach ($certificate in $store.Certificates) {
            if ($certificate.Thumbprint -eq $Thumbprint -and $certificate.HasPrivateKey) {
                return
            }
        }
    }
    finally {
        $store.Close()
    }
    $module.FailJson("there is no certificate $Thumbprint with a private key in LocalMachine\My")
}

# Obey

function Set-Setting {
    # Sets one value, or takes it away, and notes in the row what was there. Returns whether something changed.
    param([System.Collections.IDictionary]$Setting, [System.Collections.IDictionary]$Before)
    $found = Get-RegistryValue -Key $Setting.key -Name $Setting.name
    if ($Setting.absent) {
        if ($null -eq $found) {
            return $false
        }
    }
    elseif ($null -ne $found -and $found -eq $Setting.data) {
        return $false
    }
    if ($null -eq $found) {
        $Before.absent = @($Before.absent) + $Setting.option
    }
    elseif ($Setting.option -eq "force_encryption") {
        $Before.force_encryption = $found -ne 0
    }
    else {
        $Before.thumbprint = $found
    }
    if (-not $module.CheckMode) {
        $opened = $machine.OpenSubKey($Setting.key, $true)
        if ($Setting.absent) {
            $opened.DeleteValue($Setting.name)
        }
        else {
            $opened.SetValue($Setting.name, $Setting.data, $Setting.kind)
        }
        $opened.Close()
    }
    return $true
}

function Get-Setting {
    # What a row asks for. SQL Server writes thumbprints in small letters, and an empty one is its own certificate.
    param([System.Collections.IDictionary]$Row, [string]$Key)
    if ($null -ne $Row.thumbprint -or "thumbprint" -in $Row.absent) {
        $text = ""
        if ($Row.thumbprint) {
            $text = $Row.thumbprint.Replace(" ", "").ToLowerInvariant()
        }
        $absent = "thumbprint" -in $Row.absent
        @{ option = "thumbprint"; key = $Key; name = "Certificate"; kind = "String"; data = $text; absent = $absent }
    }
    if ($null -ne $Row.force_encryption -or "force_encryption" -in $Row.absent) {
        $number = 0
        if ($Row.force_encryption) {
            $number = 1
        }
        $absent = "force_encryption" -in $Row.absent
        @{ option = "force_encryption"; key = $Key; name = "ForceEncryption"; kind = "DWord"; data = $number; absent = $absent }
    }
}

$identifiers = Get-Identifier
foreach ($row in $module.Params.instances) {
    if (-not $identifiers.ContainsKey($row.name)) {
        $module.FailJson("there is no instance $($row.name) of SQL Server on this host")
    }
    if ($row.thumbprint) {
        Assert-Certificate -Thumbprint ($row.thumbprint.Replace(" ", ""))
    }
}
$module.Result.before = @()
$module.Result.restart = @()
foreach ($row in $module.Params.instances) {
    $before = @{ name = $row.name; thumbprint = $null; force_encryption = $null; absent = @() }
    $changed = $false
    $key = "$base\$($identifiers[$row.name])\MSSQLServer\SuperSocketNetLib"
    foreach ($setting in @(Get-Setting -Row $row -Key $key)) {
        if (Set-Setting -Setting $setting -Before $before) {
            $changed = $true
        }
    }
    if ($changed) {
        $module.Result.changed = $true
        $module.Result.before = @($before) + $module.Result.before
        $module.Result.restart = @($module.Result.restart) + (Get-ServiceName -Name $row.name)
    }
}
$module.Result.instances = @{}
foreach ($name in $identifiers.Keys) {
    $module.Result.instances[$name] = Get-Instance -Name $name -Id $identifiers[$name]
}
$module.ExitJson()
