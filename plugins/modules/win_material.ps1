#!powershell

# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Shows the material of a Windows host, and carries out what the controller decided: it reads and obeys.
#
# Written for Windows PowerShell 5.1 on .NET Framework 4.6.1 or later, which Windows Server 2016 and later bring along.
# Our tests run this text itself on a modelled Windows, so it keeps to what is modelled there (docs/windows_twin.md).

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ..module_utils.WindowsMaterial

$spec = @{
    options = @{
        accounts = @{ type = "list"; elements = "str"; default = @() }
        directory = @{ type = "str"; required = $true }
        orders = @{
            type = "list"
            elements = "dict"
            default = @()
            options = @{
                instance = @{ type = "str"; required = $true }
                action = @{
                    type = "str"
                    required = $true
                    choices = @("folder", "file", "rights", "pfx", "certificate", "key", "link", "forget", "remove")
                }
                path = @{ type = "str" }
                rights = @{ type = "str" }
                content = @{ type = "str"; no_log = $true }
                password = @{ type = "str"; no_log = $true }
                store = @{ type = "str"; choices = @("My", "CA", "Root") }
                thumbprint = @{ type = "str" }
                target = @{ type = "str" }
            }
        }
    }
    supports_check_mode = $true
}

$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)
$directory = $module.Params.directory

# Read

function Get-State {
    $state = Get-Material -Directory $directory
    $sids = @{}
    foreach ($account in $module.Params.accounts) {
        $sids[$account] = Get-Sid -Account $account
    }
    $state.build = [System.Environment]::OSVersion.Version.Build
    $state.user = [System.Security.Principal.WindowsIdentity]::GetCurrent().User.Value
    $state.sids = $sids
    return $state
}

# Obey

function Write-File {
    # A new file, on the disk before anything counts on it.
    param([string]$Path, [string]$Content)
    $data = [System.Convert]::FromBase64String($Content)
    $stream = [System.IO.FileStream]::new($Path, "CreateNew", "Write", "None")
    try {
        $stream.Write($data, 0, $data.Length)
        $stream.Flush($true)
    }
    finally {
        $stream.Dispose()
    }
}

function Add-Certificate {
    param([string]$Store, [System.Security.Cryptography.X509Certificates.X509Certificate2]$Certificate)
    $opened = Open-Store -Name $Store -Mode "ReadWrite"
    try {
        $opened.Add($Certificate)
    }
    finally {
        $opened.Close()
    }
}

function Grant-Key {
    param([System.Security.Cryptography.X509Certificates.X509Certificate2]$Certificate, [string]$Rights)
    $path = Get-KeyPath -Certificate $Certificate
    if (-not $path) {
        throw "the private key of $($Certificate.Thumbprint) lies in no file of this machine"
    }
    Grant-Right -Item ([System.IO.FileInfo]::new($path)) -Rights $Rights
}

function Clear-Key {
    param([System.Security.Cryptography.X509Certificates.X509Certificate2]$Certificate)
    $key = Get-PrivateKey -Certificate $Certificate
    if ($key -is [System.Security.Cryptography.RSACryptoServiceProvider]) {
        $key.PersistKeyInCsp = $false
        $key.Clear()
    }
    elseif ($null -ne $key) {
        $key.Key.Delete()
    }
}

function Import-Pfx {
    # Never through a file. Who may use the key is set before its certificate can be found.
    param([string]$Content, [string]$Password, [string]$Rights)
    $flags = [System.Security.Cryptography.X509Certificates.X509KeyStorageFlags]"MachineKeySet, PersistKeySet"
    $found = [System.Security.Cryptography.X509Certificates.X509Certificate2Collection]::new()
    $found.Import([System.Convert]::FromBase64String($Content), $Password, $flags)
    foreach ($certificate in $found) {
        if (-not $certificate.HasPrivateKey) {
            Add-Certificate -Store "CA" -Certificate $certificate
            continue
        }
        try {
            Grant-Key -Certificate $certificate -Rights $Rights
            Add-Certificate -Store "My" -Certificate $certificate
        }
        catch {
            Clear-Key -Certificate $certificate
            throw
        }
    }
}

function Find-Certificate {
    param([System.Security.Cryptography.X509Certificates.X509Store]$Store, [string]$Thumbprint)
    foreach ($certificate in $Store.Certificates) {
        if ($certificate.Thumbprint -eq $Thumbprint) {
            return $certificate
        }
    }
    return $null
}

function Clear-Certificate {
    # The key goes first: stopped in between, a certificate without its key is left, which is found and taken out again.
    param([string]$Store, [string]$Thumbprint)
    $opened = Open-Store -Name $Store -Mode "ReadWrite"
    try {
        $certificate = Find-Certificate -Store $opened -Thumbprint $Thumbprint
        if ($null -eq $certificate) {
            return
        }
        if ($certificate.HasPrivateKey) {
            Clear-Key -Certificate $certificate
        }
        $opened.Remove($certificate)
    }
    finally {
        $opened.Close()
    }
}

function Grant-KeyOf {
    param([string]$Thumbprint, [string]$Rights)
    $opened = Open-Store -Name "My" -Mode "ReadOnly"
    try {
        $certificate = Find-Certificate -Store $opened -Thumbprint $Thumbprint
        if ($null -eq $certificate) {
            throw "there is no certificate $Thumbprint in LocalMachine\My"
        }
        Grant-Key -Certificate $certificate -Rights $Rights
    }
    finally {
        $opened.Close()
    }
}

function Connect-Folder {
    # Deleting a junction leaves the folder alone that it leads to.
    param([string]$Path, [string]$Target)
    if ([System.IO.Directory]::Exists($Path)) {
        [System.IO.Directory]::Delete($Path)
    }
    [void](New-Item -ItemType Junction -Path $Path -Value $Target)
}

function Invoke-Order {
    param([System.Collections.IDictionary]$Order)
    if ($Order.path) {
        Assert-Inside -Path $Order.path -Directory $directory
    }
    switch ($Order.action) {
        "folder" { Add-Folder -Path $Order.path -Rights $Order.rights }
        "file" { Write-File -Path $Order.path -Content $Order.content }
        "rights" { Grant-Right -Item ([System.IO.FileInfo]::new($Order.path)) -Rights $Order.rights }
        "pfx" { Import-Pfx -Content $Order.content -Password $Order.password -Rights $Order.rights }
        "certificate" {
            $data = [System.Convert]::FromBase64String($Order.content)
            $certificate = [System.Security.Cryptography.X509Certificates.X509Certificate2]::new($data)
            Add-Certificate -Store $Order.store -Certificate $certificate
        }
        "key" { Grant-KeyOf -Thumbprint $Order.thumbprint -Rights $Order.rights }
        "link" { Connect-Folder -Path $Order.path -Target $Order.target }
        "forget" { Clear-Certificate -Store $Order.store -Thumbprint $Order.thumbprint }
        "remove" { Clear-Path -Path $Order.path }
    }
}

$module.Result.failures = @{}
$module.Result.changed = $module.Params.orders.Count -gt 0
if (-not $module.CheckMode) {
    foreach ($order in $module.Params.orders) {
        if ($module.Result.failures.ContainsKey($order.instance)) {
            continue
        }
        try {
            Invoke-Order -Order $order
        }
        catch {
            $module.Result.failures[$order.instance] = $_.Exception.GetBaseException().Message
        }
    }
}
$module.Result.state = Get-State
$module.ExitJson()
