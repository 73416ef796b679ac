#!powershell

# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Shows the bindings of IIS, and sets those that the controller asks for: all of them in one commit, or none.
#
# Written for Windows PowerShell 5.1 and IIS 10, whose module IISAdministration brings Microsoft.Web.Administration.

#AnsibleRequires -CSharpUtil Ansible.Basic

$spec = @{
    options = @{
        bindings = @{
            type = "list"
            elements = "dict"
            default = @()
            options = @{
                site = @{ type = "str"; required = $true }
                protocol = @{ type = "str"; default = "https"; choices = @("http", "https") }
                ip = @{ type = "str"; default = "*" }
                port = @{ type = "int"; required = $true }
                host = @{ type = "str"; default = "" }
                state = @{ type = "str"; default = "present"; choices = @("absent", "present") }
                thumbprint = @{ type = "str" }
                store = @{ type = "str"; default = "My"; choices = @("My", "WebHosting") }
                ssl_flags = @{ type = "int"; default = 0 }
            }
        }
    }
    supports_check_mode = $true
}

$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)

# Read

function Open-Manager {
    # Another one each time: one that has committed shows what it did, not what became of it.
    return [Microsoft.Web.Administration.ServerManager]::new()
}

function Get-Row {
    # A binding in the form in which it is asked for.
    param([object]$Site, [object]$Binding)
    $information = $Binding.BindingInformation
    $last = $information.LastIndexOf(":")
    $rest = $information.Substring(0, $last)
    $middle = $rest.LastIndexOf(":")
    $row = @{
        site = $Site.Name
        protocol = $Binding.Protocol
        ip = $rest.Substring(0, $middle)
        port = [int]$rest.Substring($middle + 1)
        host = $information.Substring($last + 1)
        state = "present"
        thumbprint = $null
        store = "My"
        ssl_flags = 0
    }
    if ($Binding.Protocol -eq "https") {
        $row.ssl_flags = [int]$Binding.GetAttributeValue("sslFlags")
        if ($null -ne $Binding.CertificateHash) {
            $row.thumbprint = [System.BitConverter]::ToString($Binding.CertificateHash).Replace("-", "")
            $row.store = $Binding.CertificateStoreName
        }
    }
    return $row
}

function Get-Site {
    # Bindings of other protocols, such as net.pipe, have no address, and are none of ours.
    param([object]$Manager)
    $found = @{}
    foreach ($site in $Manager.Sites) {
        $found[$site.Name] = @(foreach ($binding in $site.Bindings) {
                if ($binding.Protocol -in @("http", "https")) {
                    Get-Row -Site $site -Binding $binding
                }
            })
    }
    return $found
}

function Find-Site {
    param([object]$Manager, [string]$Name)
    foreach ($site in $Manager.Sites) {
        if ($site.Name -eq $Name) {
            return $site
        }
    }
    $module.FailJson("there is no site $Name in this IIS")
}

function Find-Binding {
    param([object]$Site, [System.Collections.IDictionary]$Wanted)
    $information = "$($Wanted.ip):$($Wanted.port):$($Wanted.host)"
    foreach ($binding in $Site.Bindings) {
        if ($binding.Protocol -eq $Wanted.protocol -and $binding.BindingInformation -eq $information) {
            return $binding
        }
    }
    return $null
}

function Get-Hash {
    # The digest by which HTTP.sys knows a certificate that can serve; looked for before anything is changed.
    param([string]$Thumbprint, [string]$StoreName)
    $store = [System.Security.Cryptography.X509Certificates.X509Store]::new($StoreName, "LocalMachine")
    $store.Open("ReadOnly")
    try {
        foreach ($certificate in $store.Certificates) {
            if ($certificate.Thumbprint -eq $Thumbprint -and $certificate.HasPrivateKey) {
                return @{ data = $certificate.GetCertHash() }
            }
        }
    }
    finally {
        $store.Close()
    }
    $module.FailJson("there is no certificate $Thumbprint with a private key in LocalMachine\$StoreName")
}

# Obey

function Add-Binding {
    param([object]$Site, [System.Collections.IDictionary]$Wanted)
    $information = "$($Wanted.ip):$($Wanted.port):$($Wanted.host)"
    if ($Wanted.protocol -eq "http") {
        [void]$Site.Bindings.Add($information, "http")
        return
    }
    $hash = Get-Hash -Thumbprint $Wanted.thumbprint -StoreName $Wanted.store
    $binding = $Site.Bindings.Add($information, $hash.data, $Wanted.store)
    $binding.SetAttributeValue("sslFlags", $Wanted.ssl_flags)
}

function Test-Same {
    param([System.Collections.IDictionary]$Found, [System.Collections.IDictionary]$Wanted)
    if ($Wanted.protocol -eq "http") {
        return $true
    }
    $same = $Found.thumbprint -eq $Wanted.thumbprint -and $Found.store -eq $Wanted.store
    return $same -and $Found.ssl_flags -eq $Wanted.ssl_flags
}

function Set-Binding {
    # In place, so that a site is never without it.
    param([object]$Binding, [System.Collections.IDictionary]$Wanted)
    $hash = Get-Hash -Thumbprint $Wanted.thumbprint -StoreName $Wanted.store
    $Binding.CertificateHash = $hash.data
    $Binding.CertificateStoreName = $Wanted.store
    $Binding.SetAttributeValue("sslFlags", $Wanted.ssl_flags)
}

function Invoke-Row {
    # Returns what was there before, in the form that puts it back; nothing where nothing changes.
    param([object]$Site, [System.Collections.IDictionary]$Wanted)
    $binding = Find-Binding -Site $Site -Wanted $Wanted
    if ($null -eq $binding) {
        if ($Wanted.state -eq "present") {
            Add-Binding -Site $Site -Wanted $Wanted
            $before = @{}
            foreach ($key in $Wanted.Keys) {
                $before[$key] = $Wanted[$key]
            }
            $before.state = "absent"
            return $before
        }
        return
    }
    $found = Get-Row -Site $Site -Binding $binding
    if ($Wanted.state -eq "absent") {
        $Site.Bindings.Remove($binding)
        return $found
    }
    if (-not (Test-Same -Found $found -Wanted $Wanted)) {
        Set-Binding -Binding $binding -Wanted $Wanted
        return $found
    }
}

function Assert-Shared {
    # HTTP.sys has one certificate for an address and a port without SNI, and would change that of another site's.
    param([object]$Manager)
    $seen = @{}
    $rows = Get-Site -Manager $Manager
    foreach ($site in $rows.Keys) {
        foreach ($row in $rows[$site]) {
            $place = "$($row.ip):$($row.port)"
            if ($row.protocol -ne "https" -or $row.ssl_flags -band 1) {
                continue
            }
            if ($seen.ContainsKey($place) -and $seen[$place].thumbprint -ne $row.thumbprint) {
                $module.FailJson("$($row.site) and $($seen[$place].site) share $place without SNI, and so the certificate as well")
            }
            $seen[$place] = $row
        }
    }
}

try {
    Import-Module -Name IISAdministration -ErrorAction Stop
    [void](Get-IISServerManager)  # has Microsoft.Web.Administration loaded
}
catch {
    $module.FailJson("this host has no IIS 10 with its module IISAdministration: $($_.Exception.Message)")
}
$manager = Open-Manager
$before = @()
foreach ($wanted in $module.Params.bindings) {
    $site = Find-Site -Manager $manager -Name $wanted.site
    $before = @(Invoke-Row -Site $site -Wanted $wanted) + $before
}
foreach ($wanted in $module.Params.bindings) {
    $site = Find-Site -Manager $manager -Name $wanted.site
    if ($site.Bindings.Count -eq 0) {
        $module.FailJson("the site $($wanted.site) would be left without any binding")
    }
}
$module.Result.before = $before
$module.Result.changed = $before.Count -gt 0
if ($module.Result.changed) {
    Assert-Shared -Manager $manager
}
if ($module.Result.changed -and -not $module.CheckMode) {
    $manager.CommitChanges()
}
$manager.Dispose()
$manager = Open-Manager
$module.Result.sites = Get-Site -Manager $manager
$manager.Dispose()
$module.ExitJson()
