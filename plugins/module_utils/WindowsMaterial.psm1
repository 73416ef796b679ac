# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What several modules read of the material of a Windows host, and do in its folders; private to this collection.

function Get-Sid {
    # LookupAccountName knows services and application pools as well: NT SERVICE\name, IIS APPPOOL\name.
    param([string]$Account)
    try {
        $name = [System.Security.Principal.NTAccount]::new($Account)
        return $name.Translate([System.Security.Principal.SecurityIdentifier]).Value
    }
    catch [System.Security.Principal.IdentityNotMappedException] {
        return $null
    }
}

function Get-Right {
    param([System.IO.FileSystemInfo]$Item)
    $sections = [System.Security.AccessControl.AccessControlSections]"Access, Owner"
    return $Item.GetAccessControl($sections).GetSecurityDescriptorSddlForm($sections)
}

function Get-Text {
    param([string]$Path)
    if ([System.IO.File]::Exists($Path)) {
        return [System.IO.File]::ReadAllText($Path)
    }
    return $null
}

function Get-Digest {
    param([string]$Path)
    $algorithm = [System.Security.Cryptography.SHA256]::Create()
    try {
        $digest = $algorithm.ComputeHash([System.IO.File]::ReadAllBytes($Path))
        return [System.BitConverter]::ToString($digest).Replace("-", "").ToLowerInvariant()
    }
    finally {
        $algorithm.Dispose()
    }
}

function Get-Target {
    # An empty text is a folder of somebody else's, where a junction of ours should be.
    param([string]$Path)
    if (-not [System.IO.Directory]::Exists($Path)) {
        return $null
    }
    $item = Get-Item -LiteralPath $Path -Force
    if ($item.LinkType -ne "Junction") {
        return ""
    }
    return [string]@($item.Target)[0]
}

function Get-Generation {
    param([System.IO.DirectoryInfo]$Folder)
    $files = @{}
    foreach ($file in $Folder.GetFiles("*", "AllDirectories")) {
        $name = $file.FullName.Substring($Folder.FullName.Length + 1).Replace("\", "/")
        $files[$name] = @{ sha256 = (Get-Digest -Path $file.FullName); rights = (Get-Right -Item $file) }
    }
    return @{
        files = $files
        manifest = (Get-Text -Path (Join-Path -Path $Folder.FullName -ChildPath "manifest.json"))
        stores = (Get-Text -Path (Join-Path -Path $Folder.FullName -ChildPath "stores.json"))
    }
}

function Get-Instance {
    param([System.IO.DirectoryInfo]$Folder)
    $generations = @{}
    $place = Join-Path -Path $Folder.FullName -ChildPath "generations"
    if ([System.IO.Directory]::Exists($place)) {
        foreach ($each in [System.IO.DirectoryInfo]::new($place).GetDirectories()) {
            $generations[$each.Name] = Get-Generation -Folder $each
        }
    }
    return @{
        rights = (Get-Right -Item $Folder)
        generations = $generations
        current = (Get-Target -Path (Join-Path -Path $Folder.FullName -ChildPath "current"))
        previous = (Get-Target -Path (Join-Path -Path $Folder.FullName -ChildPath "previous"))
    }
}

function Open-Store {
    param([string]$Name, [string]$Mode)
    $store = [System.Security.Cryptography.X509Certificates.X509Store]::new($Name, "LocalMachine")
    $store.Open($Mode)
    return $store
}

function Get-PrivateKey {
    param([System.Security.Cryptography.X509Certificates.X509Certificate2]$Certificate)
    $key = [System.Security.Cryptography.X509Certificates.RSACertificateExtensions]::GetRSAPrivateKey($Certificate)
    if ($null -eq $key) {
        $key = [System.Security.Cryptography.X509Certificates.ECDsaCertificateExtensions]::GetECDsaPrivateKey($Certificate)
    }
    return $key
}

function Get-KeyPath {
    # Both sorts of providers keep a machine's key in a file, whose rights are those of the key.
    param([System.Security.Cryptography.X509Certificates.X509Certificate2]$Certificate)
    $key = Get-PrivateKey -Certificate $Certificate
    if ($null -eq $key) {
        return $null
    }
    if ($key -is [System.Security.Cryptography.RSACryptoServiceProvider]) {
        $name = $key.CspKeyContainerInfo.UniqueKeyContainerName
    }
    else {
        $name = $key.Key.UniqueName
    }
    $key.Dispose()
    $crypto = Join-Path -Path ([System.Environment]::GetFolderPath("CommonApplicationData")) -ChildPath "Microsoft\Crypto"
    foreach ($folder in "RSA\MachineKeys", "Keys") {
        $path = Join-Path -Path (Join-Path -Path $crypto -ChildPath $folder) -ChildPath $name
        if ([System.IO.File]::Exists($path)) {
            return $path
        }
    }
    return $null
}

function Get-StoreContent {
    # The rights on a key are looked at where the certificate is one of ours.
    param([string]$Store, [string]$Ours)
    $rows = @{}
    $opened = Open-Store -Name $Store -Mode "ReadOnly"
    try {
        foreach ($certificate in $opened.Certificates) {
            $rights = $null
            if ($certificate.HasPrivateKey -and $Ours.Contains($certificate.Thumbprint)) {
                $path = Get-KeyPath -Certificate $certificate
                if ($path) {
                    $rights = Get-Right -Item ([System.IO.FileInfo]::new($path))
                }
            }
            $rows[$certificate.Thumbprint] = $rights
        }
    }
    finally {
        $opened.Close()
    }
    return $rows
}

function Get-Material {
    # What lies in the folders of instances, and in the stores of the machine.
    param([string]$Directory)
    $instances = @{}
    $ours = ""
    $rights = $null
    $link = $false
    if ([System.IO.Directory]::Exists($Directory)) {
        $top = Get-Item -LiteralPath $Directory -Force
        $rights = Get-Right -Item $top
        $link = [bool]$top.LinkType
        foreach ($folder in $top.GetDirectories()) {
            $instances[$folder.Name] = Get-Instance -Folder $folder
            foreach ($generation in $instances[$folder.Name].generations.Values) {
                $ours = $ours + $generation.stores
            }
        }
    }
    $stores = @{}
    foreach ($store in "My", "CA", "Root") {
        $stores[$store] = Get-StoreContent -Store $store -Ours $ours
    }
    return @{ rights = $rights; link = $link; instances = $instances; stores = $stores }
}

function Get-FileContent {
    # Content in base64, or why there is none; neither where there is no file.
    param([string]$Path)
    $largest = 4194304
    $found = @{ content = $null; error = $null }
    try {
        $item = [System.IO.FileInfo]::new($Path)
        if ($item.Exists -and $item.Length -gt $largest) {
            $found.error = "it is larger than $largest bytes"
        }
        elseif ($item.Exists) {
            $found.content = [System.Convert]::ToBase64String([System.IO.File]::ReadAllBytes($Path))
        }
    }
    catch {
        $found.error = $_.Exception.GetBaseException().Message
    }
    return $found
}

function Assert-Inside {
    param([string]$Path, [string]$Directory)
    $full = [System.IO.Path]::GetFullPath($Path)
    $same = $full.Equals($Directory, [System.StringComparison]::OrdinalIgnoreCase)
    if (-not $same -and -not $full.StartsWith($Directory + "\", [System.StringComparison]::OrdinalIgnoreCase)) {
        throw "$Path does not lie in $Directory"
    }
}

function Grant-Right {
    param([System.IO.FileSystemInfo]$Item, [string]$Rights)
    $sections = [System.Security.AccessControl.AccessControlSections]"Access, Owner"
    $security = $Item.GetAccessControl($sections)
    $security.SetSecurityDescriptorSddlForm($Rights, "Access")
    $Item.SetAccessControl($security)
}

function Add-Folder {
    # A folder has its rights from birth; without any it inherits.
    param([string]$Path, [string]$Rights)
    if (-not $Rights) {
        [void][System.IO.Directory]::CreateDirectory($Path)
    }
    elseif ([System.IO.Directory]::Exists($Path)) {
        Grant-Right -Item ([System.IO.DirectoryInfo]::new($Path)) -Rights $Rights
    }
    else {
        $security = [System.Security.AccessControl.DirectorySecurity]::new()
        $security.SetSecurityDescriptorSddlForm($Rights, "Access")
        [void][System.IO.Directory]::CreateDirectory($Path, $security)
    }
}

function Clear-Path {
    param([string]$Path)
    if ([System.IO.Directory]::Exists($Path)) {
        [System.IO.Directory]::Delete($Path, $true)
    }
    else {
        [System.IO.File]::Delete($Path)
    }
}

$exported = @(
    "Add-Folder",
    "Assert-Inside",
    "Clear-Path",
    "Get-Digest",
    "Get-FileContent",
    "Get-KeyPath",
    "Get-Material",
    "Get-PrivateKey",
    "Get-Right",
    "Get-Sid",
    "Get-Text",
    "Grant-Right",
    "Open-Store"
)
Export-ModuleMember -Function $exported
